"""The properties of a training on which its memory depends, read from config, model and hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from qtune.data.batches import rows_at_once
from qtune.machine.hardware import Hardware
from qtune.predict.memory.layer_kinds import LayerKind, layer_kinds
from qtune.predict.models.shapes import Model
from qtune.predict.parameters.trainable import Trainable, trainable
from qtune.schema import argument
from qtune.values import Config

Device = Literal["gpu", "cpu", "nvme"]
LINEARS = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"})
_HEAD_NORMS = frozenset({"q_norm", "q_layernorm", "query_layernorm"})
Loss = Literal["cross entropy", "anchored", "preferences", "odds", "kto", "reward", "ppo"]

_UNPRICED = (
    *("tensor_parallel", "compile", "data_types", "torch_autocast", "amp", "hybrid_engine"),
    "compression_training",
)
_WIDE = {"float32": 4, "float64": 8}  # bytes of an element; float8 is dequantised to 16 bits to be trained


@dataclass(frozen=True)
class Setting:
    """One training, its arguments with LLaMA-Factory's own defaults where they are not given.

    train: LLaMA-Factory's arguments; zero: DeepSpeed's `zero_optimization`, empty without DeepSpeed;
    unpriced: keys of the `deepspeed` block that change memory, of which no formula knows.
    processes: of all nodes. grows: whether torch's allocator grows its segments (machine/allocator.py).
    """

    model: Model
    train: Mapping[str, Any]
    zero: Mapping[str, Any]
    processes: int
    on_cpu: bool
    fsdp: bool
    nnodes: int = 1
    grows: bool = False
    unpriced: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Config, model: Model, hardware: Hardware, *, grows: bool = True) -> Setting:
        train = config.block("train")
        deepspeed = config.block("deepspeed") if config.uses_zero else {}
        if optimizer := config.get("deepspeed", "optimizer", "type") if deepspeed else None:
            train["optim"] = str(optimizer).lower()  # it takes the place of the Trainer's
        return cls(
            model=model,
            train=train,
            zero=config.block("zero") if config.uses_zero else {},
            processes=config.processes,
            nnodes=config.nnodes,
            on_cpu=hardware.is_cpu,
            fsdp=config.launcher == "accelerate",
            grows=grows,
            unpriced=tuple(key for key in _UNPRICED if key in deepspeed),
        )

    @property
    def nproc_per_node(self) -> int:
        """The processes that share one machine's memory and disks; what ZeRO keeps there is 1/nnodes."""
        return self.processes // self.nnodes

    @property
    def stage(self) -> int:
        """ZeRO's, 0 without DeepSpeed."""
        return int(self.zero.get("stage", 0))

    @property
    def shares_states(self) -> bool:
        """Whether each process keeps its part of the optimizer's states alone."""
        return self.stage >= 1 or self.fsdp

    @property
    def shares_gradients(self) -> bool:
        return self.stage >= 2 or self.fsdp

    @property
    def shares_weights(self) -> bool:
        return self.stage == 3 or self.fsdp

    def offloaded(self, what: Literal["offload_param", "offload_optimizer"]) -> Device:
        """Where ZeRO puts parameters or optimizer states. Parameters move under stage 3 alone."""
        block = self.zero.get(what)
        device = block.get("device") if isinstance(block, Mapping) else None
        if what == "offload_param" and self.stage != 3:
            return "gpu"
        return device if device in ("cpu", "nvme") else "gpu"

    @cached_property
    def trainable(self) -> Trainable:
        return trainable(self.model, self.train)

    @cached_property
    def layer_kinds(self) -> tuple[LayerKind, ...]:
        return layer_kinds(self.model)

    @cached_property
    def normalises_heads(self) -> bool:
        """Whether attention has norms over its queries and keys."""
        return any(module.last_name in _HEAD_NORMS for module in self.model.modules)

    # The rows of one forward pass.

    @property
    def batch(self) -> int:
        """Sequences in one forward pass: a ranked pair is two."""
        batch = max(rows_at_once(self.train, self.processes) // self.processes, 1)
        return batch * 2 if self.stage_of_training in ("dpo", "rm") else batch

    @property
    def length(self) -> int:
        """Tokens of the longest sequence, which cutoff_len bounds and packing fills."""
        return int(argument(self.train, "cutoff_len"))

    @property
    def tokens(self) -> int:
        return self.batch * self.length

    @property
    def has_mask(self) -> bool:
        """Whether attention gets a mask: where rows are padded to one length, or packed ones kept apart."""
        return self.batch > 1 or bool(self.train.get("neat_packing"))

    @property
    def accumulates(self) -> bool:
        return int(argument(self.train, "gradient_accumulation_steps")) > 1

    @property
    def stage_of_training(self) -> str:
        return str(argument(self.train, "stage"))

    @property
    def loss(self) -> Loss:
        """What is computed from the logits, as far as their memory differs."""
        stage = self.stage_of_training
        if stage == "dpo":
            return "odds" if self.train.get("pref_loss") in ("orpo", "simpo") else "preferences"
        if stage == "sft" and self.train.get("use_asft_loss"):
            return "anchored"
        by_stage: dict[str, Loss] = {"kto": "kto", "rm": "reward", "ppo": "ppo"}
        return by_stage.get(stage, "cross entropy")

    # Precision.

    @property
    def mixed(self) -> bool:
        return bool(self.train.get("bf16") or self.train.get("fp16"))

    @property
    def autocast(self) -> bool:
        """Mixed precision by torch's autocast: what accelerate does unless DeepSpeed casts the whole model.

        Source: accelerate/accelerator.py, Accelerator.__init__ (native_amp).
        """
        return self.mixed and not self.zero

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of an element of the model's weights as they are loaded (torch_dtype "auto")."""
        return _WIDE.get(self.model.dtype or "bfloat16", 2)

    @property
    def weight_bytes(self) -> int:
        """Bytes of an element of the weights that are not trained.

        DeepSpeed casts the whole module (deepspeed/runtime/engine.py, _configure_distributed_model); without
        mixed precision ZeRO-3 loads float32 (runtime/zero/partition_parameters.py, _set_dtype). FSDP 2 makes
        it float32 under mixed precision (accelerate/utils/fsdp_utils.py, fsdp2_prepare_model).
        """
        if self.zero and self.mixed:
            return 2
        widened = self.stage == 3 or (self.fsdp and self.mixed)
        return 4 if widened and not self.quantized else self.checkpoint_bytes

    @property
    def trained_bytes(self) -> int:
        """Bytes of an element of the weights that are trained, and of its gradient.

        LLaMA-Factory casts them to float32 except for pure_bf16 and BAdam, and under ZeRO-3
        (llamafactory/model/adapter.py, init_adapter); adapters are float32 from the start
        (peft/tuners/tuners_utils.py, cast_adapter_dtype). DeepSpeed then casts the whole module.
        """
        if self.zero:
            return 2 if self.mixed else 4
        stays = (self.train.get("pure_bf16") or self.train.get("use_badam")) and not self.adapter
        return self.checkpoint_bytes if stays and not (self.fsdp and self.mixed) else 4

    @property
    def compute_bytes(self) -> int:
        """Bytes of an element of what a linear layer puts out."""
        return 2 if self.mixed else self.trained_bytes if self.method == "full" else self.weight_bytes

    # The method.

    @property
    def method(self) -> str:
        return str(argument(self.train, "finetuning_type"))

    @property
    def adapter(self) -> bool:
        return self.method in ("lora", "oft")

    @cached_property
    def without_adapter(self) -> frozenset[str]:
        """Those of a layer's seven linear layers that the model has under these names and that get none."""
        there = {linear.name for linear in self.model.linears} & LINEARS
        adapted = {word for tensor in self.trainable.tensors for word in tensor.name.split(".")}
        return frozenset(there - adapted)

    @property
    def quantized(self) -> bool:
        return self.quantization is not None

    @property
    def quantization(self) -> tuple[str, int] | None:
        """Method and bits of the weights that are not trained; a checkpoint's own goes first.

        Source: llamafactory/model/model_utils/quantization.py, configure_quantization. FP8 and MXFP4
        checkpoints are dequantised to be trained.
        """
        if self.model.quantization in ("fp8", "mxfp4"):
            return None
        if self.model.quantization is not None:
            return self.model.quantization, self.model.quantization_bits or 4
        bits = self.train.get("quantization_bit")
        return None if bits is None else (str(argument(self.train, "quantization_method")), int(bits))

    @property
    def checkpointing(self) -> bool:
        """Gradient checkpointing: on unless disabled (llamafactory/model/model_utils/checkpointing.py)."""
        return not self.train.get("disable_gradient_checkpointing") and self.model.model_type != "gemma3n"

    @property
    def trained_layers(self) -> int:
        """Layers that a gradient passes: under `freeze` none below the first trained one."""
        layers = self.model.num_hidden_layers
        if self.method != "freeze":
            return layers
        wanted = int(argument(self.train, "freeze_trainable_layers"))
        if wanted < 0 or self.train.get("use_llama_pro") or self.train.get("freeze_extra_modules"):
            return layers
        return min(wanted, layers)
