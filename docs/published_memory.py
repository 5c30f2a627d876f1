"""Peaks of GPU memory that others published, as settings that the estimate can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from qtune.machine.hardware import Hardware
from qtune.predict.memory.estimate import Estimate
from qtune.predict.memory.setting import Setting
from qtune.predict.memory.total import estimate_setting
from qtune.predict.models.find import load

GB, GIB = 10**9, 2**30


@dataclass(frozen=True)
class Published:
    """measured: what was published, in `unit` bytes. whole: of all that the GPU held
    (nvidia-smi), else of what torch allocated."""

    what: str
    model: str
    measured: float
    train: Mapping[str, Any]
    unit: int = GB
    whole: bool = False
    kind: Literal["library", "litgpt"] = "library"
    gpus: int = 1
    zero: Mapping[str, Any] = field(default_factory=dict)


class LitGPT(Setting):
    """LitGPT where it differs: `bf16-true` holds all in bf16, trained weights and optimizer states included;
    one GPU trains without gradient checkpointing (litgpt/finetune/lora.py). The output layer has weights of
    its own, also where the model shares them with the embeddings (`tie_embeddings: null`)."""

    @property
    def autocast(self) -> bool:
        return False

    @property
    def trained_bytes(self) -> int:
        return 2

    @property
    def checkpointing(self) -> bool:
        return False


# litgpt/utils.py, chunked_cross_entropy: bf16 logits, their log-softmax and its gradient, 128 tokens at a
# time, never a float32 copy of all
_CHUNKED_LOSS = 6


def predict(row: Published) -> int:
    """Bytes, of the kind that was published."""
    found, setting = _estimate(row)
    if row.kind == "litgpt":
        words = setting.model.vocab_size * setting.tokens
        untied = 2 * setting.model.vocab_size * setting.model.hidden_size * setting.model.tie_word_embeddings
        return found.allocated - found.of("gpu").get("logits and loss", 0) + _CHUNKED_LOSS * words + untied
    return found.gpu.expected if row.whole else found.allocated


def _estimate(row: Published) -> tuple[Estimate, Setting]:
    cls = LitGPT if row.kind == "litgpt" else Setting
    model = load(row.model, Path("/nowhere"))
    if row.kind == "litgpt":  # keys and values are repeated for all heads (litgpt/model.py)
        model = replace(model, num_key_value_heads=model.num_attention_heads)
    setting = cls(model, {"bf16": True, **row.train}, row.zero, row.gpus, on_cpu=False, fsdp=False)
    return estimate_setting(setting, Hardware(row.gpus, 80.0, bf16=True)), setting


def _litgpt(what: str, model: str, measured: float, batch: int, length: int, **train: Any) -> Published:
    lora = {"lora_target": "q_proj,v_proj", "lora_rank": 32, "lora_dropout": 0.05}
    more = {"per_device_train_batch_size": batch, "cutoff_len": length, "gradient_accumulation_steps": 8}
    # no attention mask: LitGPT pads, and lets the causal mask do
    return Published(what, model, measured, {**lora, **more, "flash_attn": "fa2", **train}, kind="litgpt")


NF4 = {"quantization_bit": 4, "double_quantization": False, "optim": "paged_adamw_32bit"}
DQ = {**NF4, "double_quantization": True}
FULL = {"finetuning_type": "full"}
L32_1, L32_3 = "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B"
L2_7, L2_13, L31_8 = "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-13b-hf", "meta-llama/Llama-3.1-8B"
TINY = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
OLD = {"lora_rank": 8}  # the defaults of LitGPT's script, of which the resource tables speak

HUB = [
    _litgpt("LoRA, batch 1", L32_1, 4.49, 1, 512),
    _litgpt("QLoRA, batch 2", L32_1, 5.53, 2, 512, **NF4),
    _litgpt("full, batch 4", L32_1, 8.70, 4, 512, **FULL),
    _litgpt("LoRA, batch 1", L32_3, 9.67, 1, 512),
    _litgpt("QLoRA, batch 2", L32_3, 10.30, 2, 512, **NF4),
    _litgpt("full, batch 1", L32_3, 16.51, 1, 512, **FULL),
    _litgpt("LoRA, batch 2", L2_7, 19.77, 2, 512),
    _litgpt("QLoRA, batch 2", L2_7, 13.68, 2, 512, **NF4),
    _litgpt("LoRA, batch 1", L31_8, 19.73, 1, 512),
    _litgpt("QLoRA, batch 2", L31_8, 17.41, 2, 512, **NF4),
    _litgpt("LoRA, batch 8", TINY, 13.50, 8, 512),
    _litgpt("full, batch 4", TINY, 14.10, 4, 512, **FULL),
]
RESOURCES = [
    _litgpt("LoRA, batch 1", L2_7, 21.30, 1, 1304, **OLD),
    _litgpt("NF4, batch 1", L2_7, 14.14, 1, 1304, **OLD, **NF4),
    _litgpt("NF4 double-quantised, batch 1", L2_7, 13.84, 1, 1304, **OLD, **DQ),
    _litgpt("LoRA, batch 2", L2_7, 29.07, 2, 1304, **OLD),
    _litgpt("LoRA, batch 1", L2_13, 38.12, 1, 1304, **OLD),
    _litgpt("NF4, batch 1", L2_13, 23.14, 1, 1304, **OLD, **NF4),
]
_SWIFT = {"per_device_train_batch_size": 1, "cutoff_len": 2048, "gradient_accumulation_steps": 16}
_RANK_8 = {**_SWIFT, "lora_rank": 8, "lora_target": "all"}
_SWIFT_FULL = {**_SWIFT, **FULL, "bf16": None, "pure_bf16": True, "optim": "adamw_torch"}
_BUCKETS = {"overlap_comm": False, "contiguous_gradients": True, "reduce_bucket_size": 200_000_000}
_ZERO_3 = {
    "stage": 3,
    "reduce_bucket_size": "auto",
    "stage3_prefetch_bucket_size": "auto",
    "stage3_param_persistence_threshold": "auto",
}
QWEN = "Qwen/Qwen2.5-7B"
SWIFT = [
    Published("LoRA", QWEN, 22, _RANK_8, GIB, whole=True),
    Published("QLoRA", QWEN, 10, {**_RANK_8, "quantization_bit": 4}, GIB, whole=True),
    Published("LoRA, ZeRO-2, 2 GPUs", QWEN, 18, _RANK_8, GIB, True, gpus=2, zero={"stage": 2, **_BUCKETS}),
    Published("LoRA, ZeRO-3, 2 GPUs", QWEN, 16, _RANK_8, GIB, True, gpus=2, zero=_ZERO_3),
    Published("full, all in bf16", QWEN, 76, _SWIFT_FULL, GIB, whole=True),
]


def _user(model: str, rank: int, batch: int, measured: float) -> Published:
    train = {"lora_rank": rank, "lora_target": "all", "per_device_train_batch_size": batch, "cutoff_len": 512}
    what = f"LoRA rank {rank}, batch {batch}"
    return Published(what, model, measured, {**train, "gradient_accumulation_steps": 4}, GIB, whole=True)


USERS = [
    _user("Qwen/Qwen2.5-1.5B", 4, 1, 6),
    _user(QWEN, 8, 4, 24),
    _user(QWEN, 16, 8, 40),
    _user("Qwen/Qwen2.5-14B", 16, 4, 48),
]
