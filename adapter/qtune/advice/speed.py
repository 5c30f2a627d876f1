"""How fast a config trains compared with another one of the same model: a small cost model, in seconds.

The seconds are there to be compared, not to be believed: what is said of a preset is how much slower it is
than the fastest one, in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from qtune.machine.hardware import Hardware
from qtune.predict.memory.setting import Setting
from qtune.predict.models.shapes import Linear
from qtune.predict.parameters.trainable import Trainable
from qtune.schema import argument

# Each figure with its source; "assumed" where none was found. "Qwen's table" is that of QwenLM/Qwen's README,
# "Profiling of Memory and Speed", on A100-SXM4-80G; "Answer.AI's" are those of AnswerDotAI/fsdp_qlora,
# benchmarks_03_2024.md.
COMPUTING = 0.5
"""Of the FLOP/s that a data sheet gives. Qwen's table: 0.43 (LoRA of 7B, 2,048 tokens); Answer.AI's: 0.66 of
an RTX 3090, 0.58 of a 4090, 0.55 of an A100 and 0.33 of an H100."""
QUANTIZED = 0.15
"""Of the computing, how much longer it takes with a quantised base beside unpacking it. This and the next two
are fitted to LitGPT's config_hub/finetune/README.md (A10G: QLoRA takes 0.20 s longer than LoRA for 1,024
tokens of a 7B model, forward and backward), Qwen's table (0.74 of LoRA's speed at 2,048 tokens, 0.71 for 14B)
and torchtune's README (RTX 4090, 8B, 4,096 tokens: 0.78). Answer.AI's 0.97 at 16,384 tokens is missed."""
UNPACKING = 1.4e11
"""Weights/s made 16-bit again by an A10G."""
UNPACKING_GROWS = 1 / 3
"""With which power of the memory's bandwidth."""
A10G_MEMORY = 600e9
"""Bytes/s. NVIDIA's data sheet."""
NVLINK = 0.6
"""Of the bytes/s that a data sheet gives for one direction. Qwen's table: ZeRO-3 takes 2.2 s for 256 tokens
of the 72B model on four GPUs, three passes over its weights; to compute them takes 0.8 s."""
PCIE = 0.3
"""Of the bytes/s of PCIe, between GPUs that it alone joins. Answer.AI's tables: four and eight A5000 need at
least that much, two 3090 on an older board get a third of it."""
SWITCHES = 4
"""Of PCIe in one machine, which its GPUs share. Assumed: as in a DGX A100."""
FROM_HOST = 0.1
"""Of the bytes/s of PCIe, as DeepSpeed moves what it keeps in host memory. Its issue 6695: 0.82 s more for
the 2.4 GB of gradients of a 1.2B model, 0.22 s for the 0.6 GB of a 0.3B one, over PCIe 4's 32e9."""
SOCKETS = 2
"""Of one machine's host memory, which its GPUs share. Assumed."""
CPU_ADAM = 0.9e9
"""Parameters/s of a host. DeepSpeed issue 6695: 1.5 s for 1.2B, 0.31 s for 0.3B."""
NVME = 3e9
"""Bytes/s of the disk. Assumed: one PCIe 4 disk, as DeepSpeed's async I/O reads it."""
KERNEL = 10e-6
"""Seconds to start one operation from Python. Assumed: PyTorch in eager mode, with autograd."""
GATHER = 100e-6
"""Seconds of ZeRO-3's bookkeeping for each linear layer that a pass gathers. Assumed."""
ENGINE = 50e-6
"""Seconds of DeepSpeed's bookkeeping for each trained tensor of a micro-batch: hooks, buckets. Assumed."""
CPU_CORE = 2e10
"""FLOP/s of a CPU core in float32. Assumed."""
CPU_MEMORY = 40e9
"""Bytes/s of a CPU's memory. Assumed: two channels of DDR5."""

_OPERATIONS_BESIDE = 25  # of a layer beside its linear ones: norms, rotary embedding, attention, residuals
_OPERATIONS_OF_ADAPTER = 5  # dropout, two products, scale, sum (peft/tuners/lora/layer.py, Linear.forward)
_ADAM_BYTES = 28  # read and written for each parameter: gradient, weight, two moments in float32


@dataclass(frozen=True)
class Speed:
    """One optimizer step: seconds by what they go into, and the tokens of all processes in it."""

    seconds: Mapping[str, float]
    tokens: int

    @property
    def per_token(self) -> float:
        return sum(self.seconds.values()) / self.tokens

    def of(self, part: str) -> float:
        """Seconds for each token that go into one part."""
        return self.seconds[part] / self.tokens


@dataclass(frozen=True)
class Yardstick:
    """What all that are compared are taken to have alike, because less of it is no speed but less training.

    length: of the rows, in tokens, as far as attention's cost for each token goes; rank: of the adapters.
    """

    length: int
    rank: int


@dataclass(frozen=True)
class _Rates:
    """What one process gets of the machine: FLOP/s, weights/s, and bytes/s of its memory and links."""

    computing: float
    memory: float
    unpacking: float
    host: float
    peers: float

    @classmethod
    def of(cls, setting: Setting, hardware: Hardware) -> _Rates:
        """On a CPU weights are copied within its memory, and gradients lie in it already."""
        if setting.on_cpu:
            unpacking = UNPACKING * CPU_MEMORY / A10G_MEMORY
            return cls(CPU_CORE * hardware.cores, CPU_MEMORY, unpacking, CPU_MEMORY, CPU_MEMORY)
        card = hardware.rates
        between = PCIE * card.host_rate / max(1.0, setting.nproc_per_node / SWITCHES)
        return cls(
            COMPUTING * card.flops,
            card.memory_rate,
            UNPACKING * (card.memory_rate / A10G_MEMORY) ** UNPACKING_GROWS,
            FROM_HOST * card.host_rate / max(1.0, setting.nproc_per_node / SOCKETS),
            between if card.peer_rate is None else NVLINK * card.peer_rate,
        )


def predict_speed(setting: Setting, trained: Trainable, yardstick: Yardstick, hardware: Hardware) -> Speed:
    """The time of one optimizer step on micro-batches of batch × cutoff_len tokens.

    trained: what it trains. Units: seconds, FLOPs and bytes. A GPU computes while Python starts its next
    operations and while the weights of the next layers are gathered, so the longer counts, and a part of the
    shorter: their hypotenuse (assumed). Nothing else is taken to overlap. A larger batch is never slower: it
    shares what each micro-batch costs. Padding, which grows with the batch, is left out.

    Sources: 2 FLOPs a weight and token forward, 2 for the gradient of the activations, 2 for that of trained
    weights (Kaplan et al. 2020, section 2.1), a second forward under gradient checkpointing; ZeRO's volumes
    of communication (Rajbhandari et al. 2020, section 7), each pass over the weights gathering them anew;
    offloading as in ZeRO-Offload and ZeRO-Infinity (Ren et al. 2021; Rajbhandari et al. 2021, section 4).
    """
    work, rates = _StepWork(setting, trained, yardstick), _Rates.of(setting, hardware)
    accumulation = int(argument(setting.train, "gradient_accumulation_steps"))
    tokens = setting.tokens * accumulation
    computed = setting.tokens * work.flops_per_token / rates.computing
    started = math.hypot(computed, work.operations * KERNEL)
    gathered = work.gathered_layers * GATHER + work.gathered_bytes / rates.peers
    micro = {
        "computing": computed,
        "starting operations": started - computed,
        "DeepSpeed's bookkeeping": work.tensors_under_zero * ENGINE,
        "unpacking weights": work.unpacked / rates.unpacking + QUANTIZED * computed * setting.quantized,
        "gathering weights": math.hypot(started, gathered) - started,
        "weights from host memory": work.fetched("cpu") / rates.host,
        "weights from the disk": work.fetched("nvme") * setting.nproc_per_node / NVME,
        "gradients to host memory": 0.0 if setting.on_cpu else work.gradients_to_host / rates.host,
        "reducing gradients": work.reduced_each_micro / rates.peers,
    }
    seconds = {
        **{name: value * accumulation for name, value in micro.items()},
        "exchanging gradients": work.exchanged_each_step / rates.peers,
        "the optimizer": (
            work.updated_here / CPU_ADAM + 2 * work.share / rates.host
            if setting.on_cpu or work.offloads_optimizer
            else work.share * _ADAM_BYTES / rates.memory
        ),
        "optimizer states on the disk": (
            2 * 12 * work.updated_here / NVME if setting.offloaded("offload_optimizer") == "nvme" else 0.0
        ),
    }
    return Speed(seconds, tokens * setting.processes)


@dataclass(frozen=True)
class _StepWork:
    """What a micro-batch and a step have to do: counts and bytes, of one process where not said otherwise."""

    setting: Setting
    trained: Trainable
    yardstick: Yardstick

    @property
    def trainable(self) -> float:
        """Parameters; adapters as at the yardstick's rank."""
        if self.setting.method != "lora":
            return self.trained.parameters
        return self.trained.parameters * self.yardstick.rank / int(argument(self.setting.train, "lora_rank"))

    @property
    def passes(self) -> int:
        """Over the weights, for each micro-batch: forward, backward, and forward again."""
        return 3 if self.setting.checkpointing else 2

    @property
    def flops_per_token(self) -> float:
        setting, model = self.setting, self.setting.model
        weights, head = self._weights_met(), self._weights_met("head")
        # scores and values against the earlier half of the sequence
        heads = model.num_attention_heads * model.num_hidden_layers
        attention = 2 * self.yardstick.length * heads * model.head_dim
        adapter = self.trainable if setting.adapter else 0
        forward = 2 * (weights + adapter) + attention
        again = forward - 2 * head if setting.checkpointing else 0
        reached = setting.trained_layers / max(model.num_hidden_layers, 1)
        backward = (2 * (weights + adapter) + 2 * attention) * reached
        # DoRA multiplies its two matrices out for each micro-batch, to measure their sum with the weights
        merged = 2 * model.quantizable_parameters * self.yardstick.rank / setting.tokens
        norms = self.passes * merged if setting.train.get("use_dora") else 0
        reference = 2 * weights + attention if setting.loss in ("anchored", "preferences", "kto") else 0
        return forward + again + backward + 2 * self.trainable + norms + reference

    def _weights_met(self, kind: str | None = None) -> float:
        """Weights of linear layers that one token meets: of experts those that it is sent to."""
        return sum(
            linear.inputs * linear.outputs * linear.count * self._met(linear)
            for linear in self.setting.model.linears
            if kind in (None, linear.kind)
        )

    def _met(self, linear: Linear) -> float:
        experts = self.setting.model.num_experts if linear.kind == "expert" else 0
        return self.setting.model.num_experts_per_tok / experts if experts else 1.0

    @property
    def unpacked(self) -> float:
        """Weights made 16-bit again in a micro-batch."""
        return self.passes * self.setting.model.quantizable_parameters if self.setting.quantized else 0

    @property
    def _layers_met(self) -> float:
        """Linear layers that one token goes through."""
        return sum(linear.count * self._met(linear) for linear in self.setting.model.linears)

    @property
    def operations(self) -> float:
        """Started for one micro-batch; the backward pass has two for each one forward."""
        each = 1 + (_OPERATIONS_OF_ADAPTER if self.setting.adapter else 0)
        forward = self._layers_met * each + _OPERATIONS_BESIDE * self.setting.model.num_hidden_layers
        return forward * (self.passes + 1)

    @property
    def tensors_under_zero(self) -> int:
        return len(self.trained.tensors) if self.setting.stage else 0

    @property
    def _weight_bytes(self) -> float:
        """Of the whole model as it is kept: in 16 bits, about 0.55 bytes each in NF4 with its scales."""
        small = self.setting.model.quantizable_parameters if self.setting.quantized else 0
        return 0.55 * small + 2 * (self.setting.model.parameters - small)

    @property
    def gathered_layers(self) -> float:
        return self.passes * self._layers_met if self.setting.shares_weights else 0

    @property
    def gathered_bytes(self) -> float:
        return self.passes * self._weight_bytes * self._of_others if self.setting.shares_weights else 0.0

    @property
    def _of_others(self) -> float:
        """The share of anything divided that the other processes have."""
        return (self.setting.processes - 1) / self.setting.processes

    def fetched(self, device: str) -> float:
        """Bytes of weights that one process takes from `device` in a micro-batch."""
        held = self.setting.offloaded("offload_param") == device
        return self.passes * self._weight_bytes / self.setting.processes if held else 0.0

    @property
    def share(self) -> float:
        """Trainable parameters that one process keeps the optimizer's states of."""
        return self.trainable / (self.setting.processes if self.setting.shares_states else 1)

    @property
    def updated_here(self) -> float:
        """Trainable parameters that the processes of one machine together update, each once."""
        return self.trainable / (self.setting.nnodes if self.setting.shares_states else 1)

    @property
    def offloads_optimizer(self) -> bool:
        return self.setting.offloaded("offload_optimizer") != "gpu"

    @property
    def gradients_to_host(self) -> float:
        """Bytes in a micro-batch."""
        return 2 * self.share if self.offloads_optimizer else 0.0

    @property
    def reduced_each_micro(self) -> float:
        """Bytes of gradients: ZeRO-2 and 3 and FSDP reduce them at every micro-batch."""
        return 2 * self.trainable * self._of_others if self.setting.shares_gradients else 0.0

    @property
    def exchanged_each_step(self) -> float:
        """Bytes: gathering what ZeRO-1 and 2 updated; else one all-reduce of float32 gradients."""
        if self.setting.shares_weights:
            return 0.0
        each = 2 if self.setting.stage == 2 else 4 if self.setting.stage else 8
        return each * self.trainable * self._of_others
