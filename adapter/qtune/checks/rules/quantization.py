"""Rules about quantised models, and about quantising one while it is loaded."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View
from qtune.config.names import quoted
from qtune.config.vocabulary import TOKENS

_PARSER = "llamafactory/hparams/parser.py, get_train_args"
_MODEL_PARSER = "llamafactory/hparams/parser.py, _verify_model_args"
_QUANTIZATION = "llamafactory/model/model_utils/quantization.py, configure_quantization"
_ADAPTER = "llamafactory/model/adapter.py, _setup_lora_tuning"
_EMBEDDING = (
    "llamafactory/model/patcher.py, patch_tokenizer; model_utils/embedding.py, resize_embedding_layer"
)
# Quantisation methods that work while a model is loaded, with the bits that each takes.
_BITS = {"bnb": (4, 8), "hqq": (1, 2, 3, 4, 5, 6, 8), "eetq": (8,)}


def _quantises(view: View) -> bool:
    """Whether quantization_bit has an effect: a model that is quantised already stays as it is."""
    return view["quantization_bit"] is not None and view.model_quantization is None


def _wrong_bits(view: View) -> str:
    bits = _BITS.get(view["quantization_method"])
    if not _quantises(view) or bits is None or view["quantization_bit"] in bits:
        return ""
    return ", ".join(map(str, bits))


def _enlarged(view: View) -> str:
    """The arguments that resize the embedding of quantised weights, but for what the parser sees itself."""
    names = [name for name in ("resize_vocab", *TOKENS) if view[name]]
    quantized = view["quantization_bit"] is not None
    if not names or not (quantized or view.model_quantization) or (quantized and view["resize_vocab"]):
        return ""
    from qtune.data.lengths.vocabulary import outgrows_embedding  # which few configs need

    return quoted(names) if outgrows_embedding(view.config.block("train"), view.root) else ""


def _sharded(view: View) -> str:
    return "ZeRO-3" if view.zero3 else "FSDP" if view.fsdp else ""


RULES = (
    Rule(
        "quantization-needs-adapter",
        ("quantization_bit", "finetuning_type"),
        lambda view: view["quantization_bit"] is not None and view["finetuning_type"] not in ("lora", "oft"),
        "a quantised model can only carry an adapter, and `finetuning_type` is {finetuning_type}",
        "set finetuning_type: lora, or take `quantization_bit` out",
        _MODEL_PARSER,
    ),
    Rule(
        "quantized-model-needs-adapter",
        ("finetuning_type", "model_name_or_path"),
        lambda view: (view["finetuning_type"] not in ("lora", "oft") and view.model_quantization) or "",
        "the model's weights are quantised ({found}) and can only carry an adapter;"
        " `finetuning_type` is {finetuning_type}",
        "set finetuning_type: lora, or name the model that is not quantised",
        "llamafactory/model/adapter.py, init_adapter",
    ),
    Rule(
        "quantized-model-without-zero3",
        ("zero.stage", "fsdp", "launch.launcher", "model_name_or_path"),
        lambda view: (
            f"{_sharded(view)} cannot shard {view.model_quantization} weights"
            if _sharded(view) and view.model_quantization
            else ""
        ),
        "the model's weights are quantised, and {found}",
        "use zero.stage 2 instead, or name the model that is not quantised, with quantization_bit: 4",
        _QUANTIZATION,
    ),
    Rule(
        "model-named-as-quantized-needs-adapter",
        ("finetuning_type", "model_name_or_path"),
        lambda view: (view["finetuning_type"] not in ("lora", "oft") and view.named_quantization) or "",
        "by its name the model's weights are quantised ({found}), and can only carry an adapter;"
        " `finetuning_type` is {finetuning_type}",
        "set finetuning_type: lora, or name the model that is not quantised",
        "llamafactory/model/adapter.py, init_adapter",
        "warning",
    ),
    Rule(
        "model-named-as-quantized-without-zero3",
        ("zero.stage", "fsdp", "launch.launcher", "model_name_or_path"),
        lambda view: sharded if (sharded := _sharded(view)) and view.named_quantization else "",
        "{found} cannot shard the model's weights, which by its name are quantised",
        "use zero.stage 2 instead, or name the model that is not quantised, with quantization_bit: 4",
        _QUANTIZATION,
        "warning",
    ),
    Rule(
        "quantization-bit-on-quantized-model",
        ("quantization_bit", "model_name_or_path"),
        lambda view: (view["quantization_bit"] is not None and view.model_quantization) or "",
        "has no effect: the model's weights are quantised already ({found})",
        "take it out",
        _QUANTIZATION,
        "warning",
    ),
    Rule(
        "quantization-method-on-loading",
        ("quantization_method", "quantization_bit"),
        lambda view: _quantises(view) and view["quantization_method"] not in _BITS,
        "{quantization_method} cannot quantise a model while it is loaded: LLaMA-Factory would load it whole,"
        " without a word",
        "set quantization_method: bnb, or name a model that is published in {quantization_method}",
        _QUANTIZATION,
    ),
    Rule(
        "quantization-bits",
        ("quantization_bit", "quantization_method"),
        _wrong_bits,
        "is {quantization_bit}; {quantization_method} quantises to {found}",
        "use one of them; 4 is usual",
        _QUANTIZATION,
    ),
    Rule(
        "sharded-quantization-is-bnb-4",
        ("quantization_bit", "quantization_method", "zero.stage", "fsdp", "launch.launcher"),
        lambda view: (
            _sharded(view)
            if _quantises(view)
            and not _wrong_bits(view)
            and (view["quantization_method"], view["quantization_bit"]) != ("bnb", 4)
            and view["quantization_method"] in _BITS
            else ""
        ),
        "{found} shards no weights of {quantization_method} in {quantization_bit} bits",
        "use quantization_method: bnb with quantization_bit: 4, or zero.stage 2",
        _QUANTIZATION,
    ),
    Rule(
        "quantization-without-device-map",
        ("quantization_device_map",),
        lambda view: view["do_train"] and view["quantization_device_map"] == "auto",
        "is for inference only",
        "take it out",
        _PARSER,
    ),
    Rule(
        "quantization-without-pissa",
        ("pissa_init", "quantization_bit"),
        lambda view: view["quantization_bit"] is not None and view["pissa_init"],
        "PiSSA starts from the whole weights, and `quantization_bit` is set",
        "take one of the two out, or prepare the model with the library's scripts/pissa_init.py",
        _MODEL_PARSER,
    ),
    Rule(
        "quantized-model-without-pissa",
        ("pissa_init", "model_name_or_path"),
        lambda view: (view["pissa_init"] and view.model_quantization) or "",
        "PiSSA starts from the whole weights, and the model's are quantised ({found})",
        "take it out, or name the model that is not quantised",
        "llamafactory/model/adapter.py, init_adapter",
    ),
    Rule(
        "quantized-model-without-dora",
        ("use_dora", "model_name_or_path"),
        lambda view: (
            view.model_quantization or ""
            if view.lora and view["use_dora"] and view.model_quantization != "bitsandbytes"
            else ""
        ),
        "DoRA does not work on a model in {found}",
        "take it out, or name the model that is not quantised, with quantization_bit: 4",
        _ADAPTER,
    ),
    Rule(
        "quantization-without-resize-vocab",
        ("resize_vocab", "quantization_bit"),
        lambda view: view["quantization_bit"] is not None and view["resize_vocab"],
        "a quantised model's embedding cannot be resized",
        "take `resize_vocab` out, or `quantization_bit`",
        _MODEL_PARSER,
    ),
    Rule(
        "quantized-model-without-new-tokens",
        ("resize_vocab", *TOKENS, "quantization_bit", "model_name_or_path"),
        _enlarged,
        "{found} may need a larger embedding than there is, and that of a quantised model cannot be resized",
        "take it out, or train LoRA on 16-bit weights; rows to spare are counted once the model is here"
        " (`qtune download`)",
        _EMBEDDING,
    ),
    Rule(
        "quantization-without-new-adapter",
        ("create_new_adapter", "quantization_bit"),
        lambda view: (
            view["quantization_bit"] is not None
            and view["adapter_name_or_path"] is not None
            and view["create_new_adapter"]
        ),
        "a second adapter needs the first one merged, which a quantised model does not allow",
        "take `create_new_adapter` out, or merge the adapter first with `llamafactory-cli export`",
        _MODEL_PARSER,
    ),
    Rule(
        "quantization-without-fp8",
        ("fp8", "quantization_bit"),
        lambda view: view["fp8"] and view["quantization_bit"] is not None,
        "training in fp8 does not go with `quantization_bit`",
        "take one of the two out",
        _PARSER,
    ),
)
