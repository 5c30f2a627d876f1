"""Model states: weights, gradients, optimizer states, master copies and ZeRO's buffers, by process."""

from __future__ import annotations

from collections.abc import Iterable

from qtune.predict.memory.estimate import MemoryPart, Place
from qtune.predict.memory.optimizers import needs_whole_copies, on_demand, state_bytes
from qtune.predict.memory.setting import Setting
from qtune.predict.memory.weights import frozen_bytes, reference_bytes, reward_model_bytes, scale_bytes
from qtune.schema import argument

GATHERED = "gathered weights"
_REDUCE_BUCKET = 500_000_000  # elements; DeepSpeed's defaults
_PREFETCH_BUCKET = 50_000_000
_PERSISTENCE_THRESHOLD = 100_000
_LIVE = 1_000_000_000
_NVME_BUFFERS = 5  # of buffer_size elements (deepspeed/runtime/zero/offload_config.py)
_NVME_BUFFER = 100_000_000
_SUB_GROUP = 1_000_000_000


def standing(setting: Setting) -> list[MemoryPart]:
    """What lies in memory from the first step to the last, gradients aside."""
    return [
        *_weights(setting),
        *_masters(setting),
        *_optimizer(setting),
        *_buckets(setting),
        *_live(setting),
    ]


def gradients(setting: Setting) -> list[MemoryPart]:
    """Gradients once a backward pass is done: in the dtype of the parameters they belong to.

    ZeRO-2 and 3 and FSDP keep a process's own share (Rajbhandari et al. 2020, section 5); with the optimizer
    on the host that share is there, in float32, and where gradients accumulate once more in the model's dtype
    (deepspeed/runtime/zero/stage_1_and_2.py, initialize_optimizer_states and
    async_accumulate_grad_in_cpu_via_gpu; stage3.py, grad_partitions_flat_buffer).
    """
    size = setting.trainable.parameters * setting.trained_bytes
    if setting.train.get("use_badam") or setting.train.get("galore_layerwise"):
        size = max(setting.model.layer_parameters, default=0) * setting.trained_bytes
    if setting.offloaded("offload_optimizer") == "gpu":
        share = size // setting.processes if setting.shares_gradients else size
        parts = [_part("gradients", share, "of the trained parameters")]
        if setting.processes > 1 and not setting.zero and not setting.fsdp:
            # torch/nn/parallel/distributed.py: buckets beside the gradients unless gradient_as_bucket_view
            parts.append(_part("gradient buckets", size, "what DDP exchanges"))
        return parts
    again = setting.stage == 3 or setting.accumulates
    both = (4 * setting.trainable.parameters + (size if again else 0)) // setting.nnodes
    parts = [_part("gradients", both, "float32, and in the model's dtype as they come", "host")]
    if setting.stage == 3:
        return parts
    # temp_grad_buffer_for_gpu_offload, and ..._for_cpu_offload
    largest = max((tensor.size for tensor in setting.trainable.tensors), default=0) * setting.trained_bytes
    staged = _part("gradients to come", largest * setting.nproc_per_node, "the largest one", "host")
    return [*parts, staged, _part("gradients on their way", largest, "the largest one")]


def step(setting: Setting) -> list[MemoryPart]:
    """What the optimizer's step needs for its moment, beside gradients.

    ZeRO on the GPU flattens its share of the gradients and makes it float32 (stage_1_and_2.py, step), ZeRO-3
    by sub-groups of sub_group_size elements (stage3.py, _prepare_fp32_grad_for_sub_group).
    """
    count = setting.trainable.parameters
    if needs_whole_copies(setting):
        own = count // setting.processes if setting.fsdp else count
        return [_part("the step's own", own * setting.trained_bytes, "optim: adamw_torch_fused needs none")]
    if not setting.zero or setting.offloaded("offload_optimizer") != "gpu":
        return []
    share = count // setting.processes
    if setting.stage == 3:
        group = int(setting.zero.get("sub_group_size", _SUB_GROUP))
        return [_part("gradients in float32", 4 * min(share, group), "for the step")]
    wide = share * (4 + setting.trained_bytes)
    return [_part("gradients in float32", wide, "flat, for the step")]


def _weights(setting: Setting) -> Iterable[MemoryPart]:
    trained, second = setting.trainable.parameters, "a second set of weights, frozen"
    described = f"{trained:,} parameters of {setting.trained_bytes} bytes"
    scales = scale_bytes(setting) if setting.shares_weights else 0
    yield from _placed(setting, "weights", frozen_bytes(setting) - scales, _described(setting))
    yield _part("scales of weights", scales, "whole in each process")
    yield from _placed(setting, "reference model", reference_bytes(setting), second)
    yield from _placed(setting, "reward model", reward_model_bytes(setting), "a whole model of its own")
    yield from _placed(setting, "trained weights", trained * setting.trained_bytes, described)


def _placed(setting: Setting, name: str, size: int, note: str) -> Iterable[MemoryPart]:
    """Weights where ZeRO-3 or FSDP puts them, else whole in each process."""
    device = setting.offloaded("offload_param")
    if not setting.shares_weights:
        yield _part(name, size, note)
    elif device == "gpu":
        yield _part(name, size // setting.processes, f"{note}, 1/{setting.processes} of it")
    elif device == "cpu":
        yield _part(name, size // setting.nnodes, f"{note}, in pinned memory", "host")


def _masters(setting: Setting) -> Iterable[MemoryPart]:
    """DeepSpeed's float32 copy of what is trained, also of what is float32 already.

    Source: deepspeed/runtime/zero/stage_1_and_2.py, single_partition_of_fp32_groups, with a buffer in the
    model's dtype beside it when offloaded (param_buffer_of_bit16_for_cpu_offload_groups); stage3.py,
    fp32_partitioned_groups_flat.
    """
    if not setting.zero:
        return
    count = setting.trainable.parameters
    device = setting.offloaded("offload_optimizer")
    if device == "gpu":
        yield _part("master copies", 4 * count // setting.processes, "float32")
    elif device == "cpu":
        yield _part("master copies", 4 * count // setting.nnodes, "float32", "host")
        if setting.stage < 3:
            note = "from which updated weights go back"
            yield _part("buffer of weights", setting.trained_bytes * count // setting.nnodes, note, "host")


def _optimizer(setting: Setting) -> Iterable[MemoryPart]:
    size = state_bytes(setting)
    name = str(argument(setting.train, "optim"))
    device = setting.offloaded("offload_optimizer")
    if device == "gpu":
        note = f"{name}; may leave the GPU" if on_demand(setting.train) else name
        yield _part("optimizer states", size // setting.processes if setting.shares_states else size, note)
    elif device == "cpu":
        yield _part("optimizer states", size // setting.nnodes, name, "host")
    else:
        # deepspeed/runtime/swap_tensor/optimizer_utils.py: buffers for the sub-group at work, pinned
        group = min(int(setting.zero.get("sub_group_size", _SUB_GROUP)), setting.trainable.parameters)
        yield _part("buffers of optimizer states", 16 * group, "between the disk and the step", "host")


def _buckets(setting: Setting) -> Iterable[MemoryPart]:
    """Buffers in which ZeRO gathers gradients before it reduces them.

    reduce_bucket_size elements of the model's dtype, two of them where overlap_comm is on under ZeRO-2
    (stage_1_and_2.py, setup_buckets); one under ZeRO-3 (stage3.py). `auto` is hidden_size²
    (transformers/integrations/deepspeed.py, trainer_config_finalize).
    """
    if not setting.zero:
        return
    wanted = setting.zero.get("reduce_bucket_size", _REDUCE_BUCKET)
    elements = setting.model.hidden_size**2 if wanted == "auto" else int(wanted)
    if setting.on_cpu:  # memory that is never written takes none
        elements = min(elements, setting.trainable.parameters)
    if setting.stage < 3:
        if not setting.zero.get("contiguous_gradients", True):
            return
        elements *= 2 if setting.zero.get("overlap_comm") else 1
    yield _part("reduce buckets", elements * setting.trained_bytes, f"{elements:,} elements")


def _live(setting: Setting) -> Iterable[MemoryPart]:
    """Whole weights that ZeRO-3 or FSDP has gathered at one time, and those it never parts.

    ZeRO-3: the output layer and the layer at work with what is fetched ahead; and between forward and
    backward those layers whose next use comes within stage3_max_reuse_distance elements, each counted three
    times on the way: forward, again, backward (deepspeed/runtime/zero/partitioned_param_coordinator.py,
    __params_to_release). Elements are counted as they are stored: four weights in 4 bits are one of 16.
    FSDP: embeddings and output layer, and two layers, one at work and one fetched ahead
    (torch/distributed/fsdp, fully_shard; version 1 by backward_prefetch: BACKWARD_PRE).
    """
    if not setting.shares_weights:
        return
    model, zero = setting.model, setting.zero
    total = frozen_bytes(setting) + setting.trainable.parameters * setting.trained_bytes
    elements = model.parameters + setting.trainable.added
    width = min(total / max(elements, 1), 2)  # gathered in the dtype of the computation
    head = model.vocab_size * model.hidden_size
    layer = max(model.layer_parameters, default=0)
    if setting.fsdp:
        root = head if model.tie_word_embeddings else 2 * head
        size = min(2 * root + 2 * layer * width, total)
        yield _part(GATHERED, int(size), "embeddings, output layer and two layers")
        return
    wanted = zero.get("stage3_prefetch_bucket_size", _PREFETCH_BUCKET)
    ahead = int(0.9 * model.hidden_size**2) if wanted == "auto" else int(wanted)
    bounds = ("stage3_max_reuse_distance", "stage3_max_live_parameters")
    reuse = min(int(zero.get(bound, _LIVE)) for bound in bounds)
    kept = max(0, reuse - 2 * head) / 3
    size = min(2 * (head + ahead + kept) + layer * width, total)
    yield _part(GATHERED, int(size), "output layer, the layer at work and those soon used again")
    if setting.offloaded("offload_param") == "nvme":
        block = zero["offload_param"]
        buffers = int(block.get("buffer_count", _NVME_BUFFERS)) * int(block.get("buffer_size", _NVME_BUFFER))
        size = 2 * buffers * setting.nproc_per_node
        yield _part("buffers of weights", size, "to and from the disk", "host")


def _described(setting: Setting) -> str:
    count = setting.model.parameters - setting.trainable.of("weight")
    if setting.quantization is None:
        return f"{count:,} parameters of {setting.weight_bytes} bytes, frozen"
    method, bits = setting.quantization
    experts = ", experts in 16" if any(linear.stacked for linear in setting.model.linears) else ""
    return f"{count:,} parameters, linear layers in {bits} bits ({method}){experts}, frozen"


def _part(name: str, size: int, note: str, where: Place = "gpu") -> MemoryPart:
    return MemoryPart(name, int(size), where, note)
