"""How much memory a training needs, part by part, for each GPU and for the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qtune.machine.allocator import GROWING, NAMES
from qtune.machine.hardware import Hardware
from qtune.predict.memory import disk, states
from qtune.predict.memory.activations import activations, at_work_bytes, logits
from qtune.predict.memory.constants import (
    CUDA_CONTEXT,
    CUDA_CONTEXT_MOST,
    CUDA_CONTEXT_SHARE,
    GPU_PROCESS,
    HOST_UNCERTAIN,
    INTERPRETER,
    NCCL_BUFFERS,
    PINNED,
    UNCERTAIN,
)
from qtune.predict.memory.cpu import kept_by_allocator, small_share
from qtune.predict.memory.estimate import VERDICTS, Estimate, MemoryPart, Range, Verdict
from qtune.predict.memory.setting import Setting
from qtune.predict.memory.slack import Slack, slack
from qtune.predict.memory.weights import left_in_16_bits
from qtune.predict.models.shapes import Model
from qtune.units import counted
from qtune.values import Config

_SELF = "Python and its libraries"
_PINNED = frozenset({"master copies", "buffer of weights", "gradients", "optimizer states"})


def estimate(
    config: Config, model: Model, hardware: Hardware, free_host: int | None = None, *, grows: bool = True
) -> Estimate:
    """The memory of a training with this config, of this model, on this hardware.

    free_host: bytes of host memory that are free, None where that is not known; the verdict heeds them then.
    grows: whether torch's allocator grows its segments, as it does where qtune starts the training and the
    user's environment says nothing else.
    The rows are taken to be as long as cutoff_len, which is the worst case.
    """
    return estimate_setting(Setting.of(config, model, hardware, grows=grows), hardware, free_host)


def estimate_setting(setting: Setting, hardware: Hardware, free_host: int | None = None) -> Estimate:
    """The memory of a training with this setting; free_host: as in `estimate`."""
    moments = _moments(setting)
    moment = max(moments, key=lambda name: _taken(setting, moments[name]))
    parts = moments[moment]
    if setting.on_cpu:
        # one memory for all: what would lie on a GPU lies there once for each process
        here = setting.nproc_per_node
        parts = [
            part if part.where == "host" else replace(part, bytes=part.bytes * here, where="host")
            for part in parts
        ]
    else:
        host = {part.name: part for found in moments.values() for part in found if part.where == "host"}
        parts = [*(part for part in parts if part.where == "gpu"), *host.values()]
    allocated = _total(parts, "gpu")
    free = slack(setting, allocated)
    context = int(CUDA_CONTEXT + CUDA_CONTEXT_SHARE * hardware.gpu_memory)
    parts = [*parts, *_outside(setting, context, free)]
    most = allocated + free.most + int(UNCERTAIN * allocated)
    reserved = Range(allocated, allocated + free.expected, most)
    gpu = Range() if setting.on_cpu else _whole(reserved, context, _total(parts, "gpu"))
    host_range = _host_range(parts)
    return Estimate(
        parts=tuple(part for part in parts if part.bytes),
        moment=moment,
        gpu=gpu,
        host=host_range,
        verdict=_verdict(gpu, host_range, hardware, free_host),
        trainable=setting.trainable,
        allocated=allocated,
        reserved=reserved,
        checkpoint=disk.checkpoint_bytes(setting),
        disk=disk.kept_bytes(setting),
        assumptions=_assumptions(setting),
    )


def _moments(setting: Setting) -> dict[str, list[MemoryPart]]:
    """What lies in memory at each moment that may be the peak.

    Gradients are there from the second micro-batch on; of a single one, those of the output layer come first,
    while all layers' inputs are there, and the rest with the first layer, when they are not. Buffers that
    ZeRO keeps for them are always there.
    """
    standing, whole = [*states.standing(setting), *kept_by_allocator(setting)], states.gradients(setting)
    always = setting.accumulates or setting.stage == 3 or setting.offloaded("offload_optimizer") != "gpu"
    before = whole if always else _scaled(whole, small_share(setting) if setting.on_cpu else 0.0)
    held = whole if always or setting.zero else _scaled(whole, _of_output(setting))
    kept, at_the_last = (activations(setting, going_back=going_back) for going_back in (False, True))
    return {
        "computing the loss": [*standing, *before, *kept, *logits(setting)],
        "going back through the last layer": [*standing, *held, *at_the_last],
        "going back through the first layer": [*standing, *whole, *_first_layer(setting, at_the_last)],
        "going back to the embeddings": [*standing, *whole, *_of_embeddings(setting)],
        "the optimizer's step": [*standing, *whole, *states.step(setting)],
    }


def _taken(setting: Setting, parts: Sequence[MemoryPart]) -> int:
    """Bytes of the memory whose peak is asked for: of a GPU, or of the host where it does everything."""
    own = _total(parts, "gpu")
    return own * setting.nproc_per_node + _total(parts, "host") if setting.on_cpu else own


def _first_layer(setting: Setting, at_the_last: Sequence[MemoryPart]) -> list[MemoryPart]:
    """One layer alone: what the others kept is gone by then. at_the_last: what was there at the last one."""
    note, others = "its activations and their gradients", {"activations", "layer at work"}
    beside = [part for part in at_the_last if part.name not in others]
    return [*beside, MemoryPart("layer at work", at_work_bytes(setting), "gpu", note)]


def _of_embeddings(setting: Setting) -> list[MemoryPart]:
    """The gradient of the embeddings, whole, before it is added to what is there already, or exchanged.

    Where the output layer shares them its gradient waits for this one, and the sum is a third (pytorch,
    torch/csrc/autograd/input_buffer.cpp, accumulate).
    """
    model = setting.model
    if setting.method != "full":
        return []
    width = 2 if setting.fsdp and setting.mixed else setting.trained_bytes  # FSDP computes with 16-bit copies
    size = model.vocab_size * model.hidden_size * width
    copies = 2 if model.tie_word_embeddings else int(setting.accumulates)
    if setting.shares_gradients:  # none of them is among the gradients that a process keeps
        copies = 3 if model.tie_word_embeddings else 1
    return [MemoryPart("gradient of the embeddings", copies * size, "gpu", "to be added")]


def _of_output(setting: Setting) -> float:
    """Share of the gradients that are there before the first layer is gone back through: the output's."""
    found = setting.trainable
    head = setting.model.vocab_size * setting.model.hidden_size
    if setting.method != "full" or not found.parameters:
        return 0.0
    return min(head / found.parameters, 1.0)


def _scaled(parts: Sequence[MemoryPart], share: float) -> list[MemoryPart]:
    return [replace(part, bytes=int(part.bytes * share)) for part in parts]


def _outside(setting: Setting, context: int, free: Slack) -> list[MemoryPart]:
    """What lies beside that which the framework allocates for the training."""
    here = setting.nproc_per_node
    own = INTERPRETER * here
    parts = [MemoryPart(_SELF, own, "host", counted(here, "process"))]
    if setting.on_cpu:
        return parts
    distributed = bool(setting.zero) or setting.processes > 1
    return [
        *parts,
        MemoryPart("CUDA's libraries", GPU_PROCESS * here, "host", "and its buffers"),
        MemoryPart("CUDA context", context, "gpu", "driver and kernels"),
        MemoryPart("NCCL buffers", NCCL_BUFFERS if distributed else 0, "gpu", "between processes"),
        MemoryPart("allocator's slack", free.expected, "gpu", "free blocks that fit nothing else"),
    ]


def _whole(reserved: Range, context: int, expected: int) -> Range:
    """All that a GPU holds; expected: its parts' sum."""
    beside = expected - reserved.expected
    return Range(
        reserved.low + beside, expected, reserved.high + beside + int((CUDA_CONTEXT_MOST - 1) * context)
    )


def _host_range(parts: Sequence[MemoryPart]) -> Range:
    host = [part for part in parts if part.where == "host"]
    expected = _total(host, "host")
    pinned = sum(part.bytes for part in host if part.name in _PINNED)
    spread = HOST_UNCERTAIN * sum(part.bytes for part in host if part.name != _SELF)
    return Range(int(expected - spread), expected, int(expected + spread + (PINNED - 1) * pinned))


def _verdict(gpu: Range, host: Range, hardware: Hardware, free_host: int | None) -> Verdict:
    verdicts: list[Verdict] = ["fits"]
    if not hardware.is_cpu:
        verdicts.append(gpu.verdict(hardware.gpu_memory))
    if free_host is not None:
        verdicts.append(host.verdict(free_host))
    return max(verdicts, key=VERDICTS.index)


def _total(parts: Sequence[MemoryPart], where: str) -> int:
    return sum(part.bytes for part in parts if part.where == where)


def _assumptions(setting: Setting) -> tuple[str, ...]:
    said = [f"every row as long as cutoff_len ({setting.length} tokens)"]
    if not setting.model.exact:
        said.append(f"what is a linear layer of {setting.model.name} was read off its tensors' names")
    if setting.model.dtype is None and not setting.quantized:
        said.append("weights in bfloat16, since the model does not say")
    if experts := left_in_16_bits(setting.train, setting.model):
        said.append(experts)
    if any(kind.delta for kind in setting.layer_kinds):
        said.append("linear attention as torch computes it, without the package flash-linear-attention")
    if not setting.on_cpu:
        said.append(f"{'with' if setting.grows else 'without'} {NAMES[0]}={GROWING}")
    if setting.unpriced:
        said.append(f"what {', '.join(setting.unpriced)} of `deepspeed:` changes left out")
    if setting.zero and setting.stage == 0:
        said.append("DeepSpeed's own memory at stage 0 not measured")
    if setting.loss == "ppo":
        said.append("PPO's own generation left out")
    return tuple(said)
