"""Activations, logits and loss: what one forward and backward pass holds, in bytes of one process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from qtune.predict.memory import dora
from qtune.predict.memory.estimate import MemoryPart
from qtune.predict.memory.experts import experts_at_work, kept_by_experts
from qtune.predict.memory.layer_kinds import LayerKind
from qtune.predict.memory.setting import LINEARS, Setting
from qtune.predict.memory.weights import largest_dequantized
from qtune.schema import argument
from qtune.units import counted


class PerToken(NamedTuple):
    """Bytes for each token, as multiples of widths: of the hidden state, of all query heads, of all key
    heads, and of the MLP."""

    hidden: float
    query: float
    key: float
    mlp: float


class LayerActivations(NamedTuple):
    """One decoder layer. kept: what its forward pass saves for the backward one; at_work: the most that lies
    there while it is gone back through, what it kept included."""

    kept: PerToken
    at_work: PerToken


_MLP = frozenset({"gate_proj", "up_proj", "down_proj"})
# By method (adapters, or the weights themselves) and precision: `autocast` is 16 bits by torch's autocast
# over float32 trained weights; `half` one 16-bit dtype for all; `single` float32 for all; `mixed` 16-bit
# weights under float32 adapters without autocast (a CPU). Found by tracing every allocation of a Qwen2 layer
# with adapters on all seven linear layers through transformers, PEFT and torch over eight shapes, and reading
# the multiples off; tests/e2e/test_memory_traced.py compares them. `kept` is exact, `at_work` within 6%.
_LAYERS: dict[tuple[str, str], LayerActivations] = {
    ("adapter", "autocast"): LayerActivations(PerToken(18, 6, 4, 8), PerToken(30, 6, 4, 14)),
    ("adapter", "half"): LayerActivations(PerToken(12, 4, 4, 8), PerToken(21, 4, 4, 12)),
    ("adapter", "single"): LayerActivations(PerToken(16, 8, 8, 16), PerToken(20, 8, 8, 24)),
    ("adapter", "mixed"): LayerActivations(PerToken(28, 8, 4, 10), PerToken(44, 8, 4, 13)),
    ("weights", "autocast"): LayerActivations(PerToken(26, 4, 4, 8), PerToken(30, 4, 4, 12)),
    ("weights", "half"): LayerActivations(PerToken(16, 4, 4, 8), PerToken(23, 4, 4, 12)),
    ("weights", "single"): LayerActivations(PerToken(24, 8, 8, 16), PerToken(28, 8, 8, 24)),
}
# Bytes for each token and hidden unit: the gradient of what the experts put out, summed in float32.
_OUTPUT = 4
# Bytes for each token and unit of queries and keys: their float32 copy, where heads have norms.
_HEAD_NORM = 4
# Bytes for each token and unit of all keys, and of all values, of a delta net whose rule torch computes chunk
# by chunk (modeling_qwen3_next.py, torch_chunk_gated_delta_rule), as it does without the package
# flash-linear-attention. Traced at heads of 128, which all published models have.
_DELTA = (10, 126)
_STATISTICS = 4  # bytes for each token and head: the softmax's logarithm, which fused attention keeps
_DROPOUT = {True: 4, False: 1}  # bytes of a dropout mask's element: float32 on a CPU, bool on a GPU
# Bytes for each head and pair of tokens, by those of a score: the softmax is float32 always, and kept in both
# dtypes; going back, it and its gradient meet their product and the scores' gradient (pytorch,
# aten/src/ATen/native/cuda/SoftMax.cu, softmax_backward_cuda_out).
_EAGER_KEPT, _EAGER_AT_WORK = {2: 6, 4: 4}, {2: 14, 4: 16}

# Bytes for each token and word of the vocabulary, at the loss: (within the forward pass, or outside it where
# that is more; while going back). Traced likewise through the library's own loss functions.
LOSSES: dict[str, tuple[float, float]] = {
    # bf16 logits, a float32 copy and its log-softmax; back: log-softmax, its gradient and the logits'
    # (transformers/loss/loss_utils.py, ForCausalLMLoss)
    "cross entropy": (10, 12),
    # both models' float32 logits, shifted copies of them, two log-softmaxes, a softmax, the divergence
    # (llamafactory/train/trainer_utils.py, asft_loss_func)
    "anchored": (44, 20),
    # the policy's logits stay for the metrics while the reference runs (train/dpo/trainer.py)
    "preferences": (16, 12),
    "odds": (8, 12),
    # as before, and the logits of the mismatched answers (train/kto/trainer.py, concatenated_forward)
    "kto": (20, 12),
    # computed and made float32, but no part of the loss (trl's AutoModelForCausalLMWithValueHead)
    "reward": (6, 0),
    "ppo": (16, 12),
}
_LIGER = 12  # bytes for each token and hidden unit: chunks of logits about as large as the hidden states


def precision(setting: Setting) -> str:
    """`autocast`, `half`, `single` or `mixed`, as _LAYERS explains them."""
    # FSDP gathers adapters and weights alike in 16 bits; and over quantised weights PEFT leaves an adapter's
    # input so under CUDA's autocast, the only one that it asks for (peft/tuners/lora/bnb.py, gptq.py, awq.py,
    # …: torch.is_autocast_enabled)
    if setting.autocast and not setting.fsdp and (setting.on_cpu or not setting.quantized):
        return "autocast"
    if setting.mixed:
        return "half"
    if setting.compute_bytes == 4 or (setting.quantized and setting.on_cpu):
        return "single"
    return "mixed" if setting.adapter and setting.trained_bytes == 4 else "half"


def residual_bytes(setting: Setting) -> int:
    """Bytes of an element of the hidden state between layers: the embedding's dtype, since sums keep it."""
    if dora.is_wide(setting):
        return 4
    if setting.mixed and (setting.zero or setting.fsdp):
        return 2
    return setting.trained_bytes if setting.method == "full" else setting.weight_bytes


def _unsaved(setting: Setting, mlp: int) -> PerToken:
    """What one layer does not keep where no adapter stands: the inputs of those linear layers.

    In one dtype throughout q, k and v share their input, as gate and up do, and attention keeps o's for
    itself; else each adapter casts one of its own (peft/tuners/lora/layer.py, Linear.forward).
    """
    without = setting.without_adapter | (frozenset() if mlp else _MLP)
    if not setting.adapter or not without:
        return PerToken(0, 0, 0, 0)
    found = precision(setting)
    width, alone = 4 if found == "mixed" else setting.compute_bytes, found in ("autocast", "mixed")
    if alone:
        hidden = len(without & {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"})
    else:
        hidden = int({"q_proj", "k_proj", "v_proj"} <= without) + int({"gate_proj", "up_proj"} <= without)
    query, mlp = int(alone and "o_proj" in without), int("down_proj" in without)
    return PerToken(width * hidden, width * query, 0, width * mlp)


def layer_bytes(setting: Setting, per_token: PerToken, eager: Mapping[int, int], kind: LayerKind) -> int:
    """Bytes of one layer for all tokens of a forward pass, its routed experts left out.

    With a mask, keys and values are repeated to the width of the queries (transformers,
    integrations/sdpa_attention.py, use_gqa_in_sdpa).
    """
    model = setting.model
    head_dim = model.head_dim or model.hidden_size // max(model.num_attention_heads, 1)
    query = model.num_attention_heads * head_dim
    key = query if masked(setting) else model.num_key_value_heads * head_dim
    mlp, unsaved = kind.mlp, _unsaved(setting, kind.mlp)
    attention = (
        (per_token.query - unsaved.query) * query
        + per_token.key * key
        + _STATISTICS * model.num_attention_heads
        + (_HEAD_NORM * (query + key) if setting.normalises_heads else 0)
    )
    if kind.delta:
        attention = _DELTA[0] * kind.delta[0] + _DELTA[1] * kind.delta[1]
    each = (
        (per_token.hidden - unsaved.hidden) * model.hidden_size
        + attention
        + (per_token.mlp - unsaved.mlp) * mlp
        + _dropout(setting, model.hidden_size, query, mlp)
    )
    scores = 0.0
    if is_eager(setting) and not kind.delta:
        width = 4 if precision(setting) == "single" else 2
        scores = eager[width] * model.num_attention_heads * setting.batch * setting.length**2
    elif masked(setting):
        scores = setting.compute_bytes * setting.batch * setting.length**2  # the mask in attention's dtype
    return int(each * setting.tokens + scores)


def kept_bytes(setting: Setting) -> int:
    """What the forward pass of one layer saves, on the average of all layers."""
    return int(sum(kind.share * _kept(setting, kind) for kind in setting.layer_kinds))


def at_work_bytes(setting: Setting) -> int:
    """The most that lies there of one layer while it is computed again and gone back through."""
    return max(_at_work(setting, kind) for kind in setting.layer_kinds)


def _at_work(setting: Setting, kind: LayerKind) -> int:
    found, layer = precision(setting), _layer(setting)
    if kind.experts:
        routed = experts_at_work(setting, kind.experts, found) + _OUTPUT * setting.model.hidden_size
        beside = layer_bytes(setting, layer.kept, _EAGER_KEPT, kind)
        gradients = beside + int(routed * setting.tokens)
    else:
        gradients = layer_bytes(setting, layer.at_work, _EAGER_AT_WORK, kind)
    weighed = _kept(setting, kind) + dora.weighing(setting, found)
    return max(gradients + dora.at_work(setting, found), weighed)


def _kept(setting: Setting, kind: LayerKind) -> int:
    routed = kept_by_experts(setting, kind.experts, precision(setting)) if kind.experts else 0.0
    beside = layer_bytes(setting, _layer(setting).kept, _EAGER_KEPT, kind)
    return beside + int(routed * setting.tokens) + dora.kept(setting, precision(setting))


def _layer(setting: Setting) -> LayerActivations:
    return _LAYERS["adapter" if setting.adapter else "weights", precision(setting)]


def masked(setting: Setting) -> bool:
    """Whether attention computes with a mask in memory; flash attention 2 does without."""
    return setting.has_mask and setting.train.get("flash_attn") != "fa2"


def activations(setting: Setting, *, going_back: bool) -> list[MemoryPart]:
    """Activations when the loss is computed, or at the layer at work in the backward pass.

    With gradient checkpointing each layer keeps its input alone, and is computed again when gone back through
    (Chen et al. 2016).
    """
    layers = setting.trained_layers
    inputs = residual_bytes(setting) * setting.model.hidden_size * setting.tokens
    kept, at_work = kept_bytes(setting), at_work_bytes(setting)
    mask = setting.batch * setting.length**2 if masked(setting) else 0
    if setting.checkpointing:
        parts = [_part("activations", layers * inputs + mask, f"inputs of {counted(layers, 'layer')}")]
        if setting.train.get("use_unsloth_gc"):
            parts = [_part("activations", mask, "inputs of the layers lie in host memory")]
            offloaded = layers * inputs * setting.nproc_per_node
            parts.append(MemoryPart("inputs of layers", offloaded, "host", "use_unsloth_gc"))
        if going_back:
            parts.append(_part("layer at work", at_work, "computed again, and its gradients"))
    else:
        parts = [_part("activations", layers * (kept + inputs // 4) + mask, f"of {counted(layers, 'layer')}")]
        if going_back:
            parts.append(_part("layer at work", max(at_work - kept, 0), "gradients of its activations"))
    if going_back and setting.quantized:
        parts.append(_part("dequantised weight", largest_dequantized(setting), "the largest layer's"))
    return parts


def logits(setting: Setting) -> list[MemoryPart]:
    """Logits and what the loss makes of them, the larger of forward and backward pass.

    Under autocast the 16-bit copies of the trained weights still lie in its cache while the model computes
    its own loss (pytorch, aten/src/ATen/autocast_mode.cpp, cached_cast); FSDP gathers them in 16 bits.
    """
    if setting.train.get("enable_liger_kernel") and setting.stage_of_training in ("pt", "sft"):
        size = _LIGER * setting.model.hidden_size * setting.tokens
        return [_part("logits and loss", size, "computed in chunks by the Liger kernel")]
    forward, back = LOSSES[setting.loss]
    if setting.compute_bytes == 4 and setting.loss == "cross entropy":
        forward -= 2  # no 16-bit logits
    words = setting.model.vocab_size * setting.tokens
    casts = 2 * setting.trainable.parameters if setting.autocast and not setting.fsdp else 0
    inside = setting.loss == "cross entropy"
    in_forward = forward * words + (casts if inside else 0)
    note = f"{setting.batch} x {setting.length} tokens x {setting.model.vocab_size:,} words"
    head = setting.model.vocab_size * setting.model.hidden_size
    copies = min(casts, 2 * head) if setting.method == "full" else 0  # which the output layer keeps
    in_backward = back * words + (copies if setting.checkpointing else casts)
    return [_part("logits and loss", int(max(in_forward, in_backward)), note)]


def is_eager(setting: Setting) -> bool:
    """Attention that writes the scores down: asked for, or where soft caps leave no other (Gemma 2).

    Source: llamafactory/model/model_utils/attention.py, configure_attn_implementation.
    """
    wanted = argument(setting.train, "flash_attn")
    return wanted == "disabled" or (setting.model.model_type == "gemma2" and wanted == "auto")


def _dropout(setting: Setting, hidden: int, query: int, mlp: int) -> int:
    """Bytes of a layer for each token that a dropout before the adapters keeps more.

    A mask for each adapter; and where all is in one dtype, so that those with one input would share it, a
    dropped copy for each (peft/tuners/lora/layer.py, Linear.forward).
    """
    if not setting.adapter or not setting.train.get("lora_dropout"):
        return 0
    adapted = LINEARS - setting.without_adapter
    attention, gates = len(adapted & {"q_proj", "k_proj", "v_proj"}), len(adapted & {"gate_proj", "up_proj"})
    output, down = int("o_proj" in adapted), int("down_proj" in adapted)
    masks = (attention + gates) * hidden + output * query + down * mlp
    apart = (max(attention - 1, 0) + max(gates - 1, 0)) * hidden + output * query
    width = setting.compute_bytes if precision(setting) in ("half", "single") else 0
    return _DROPOUT[setting.on_cpu] * masks + width * apart


def _part(name: str, size: int, note: str) -> MemoryPart:
    return MemoryPart(name, int(size), "gpu", note)
