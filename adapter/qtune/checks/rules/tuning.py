"""Rules about the method: adapters, frozen layers, other implementations."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View

_PARSER = "llamafactory/hparams/parser.py, get_train_args"
_MODEL_PARSER = "llamafactory/hparams/parser.py, _verify_model_args"
_METHOD_PARSER = "llamafactory/hparams/finetuning_args.py, FinetuningArguments.__post_init__"
_ADAPTER = "llamafactory/model/adapter.py, _setup_lora_tuning"


def _cannot_merge(view: View) -> str:
    """What does not allow adapters to be merged when they are loaded."""
    reasons = {
        "a quantised model": view["quantization_bit"] is not None or view.model_quantization,
        "ZeRO-3": view.zero3,
        "Unsloth": view["use_unsloth"],
        "KTransformers": view["use_kt"],
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _layers_not_divisible(view: View) -> str:
    layers, trained = view.model.get("num_hidden_layers"), view["freeze_trainable_layers"]
    if not view["use_llama_pro"] or not isinstance(layers, int) or trained == 0 or layers % trained == 0:
        return ""
    return str(layers)


def _gpt_oss(view: View) -> bool:
    name = str(view.model.get("model_type") or view["model_name_or_path"])
    return "gpt_oss" in name.lower().replace("-", "_")


RULES = (
    Rule(
        "one-adapter-only",
        ("adapter_name_or_path", "quantization_bit", "zero.stage", "use_unsloth", "use_kt"),
        lambda view: len(view.adapters) > 1 and _cannot_merge(view),
        "several adapters are merged when they are loaded, which {found} does not allow",
        "merge them first with `llamafactory-cli export`, and name at most one here",
        f"{_MODEL_PARSER}; model/adapter.py, _setup_lora_tuning",
    ),
    Rule(
        "adapter-needs-lora",
        ("adapter_name_or_path", "finetuning_type"),
        lambda view: view["adapter_name_or_path"] is not None and not view.lora,
        "an adapter can only be loaded for LoRA, and `finetuning_type` is {finetuning_type}",
        "set finetuning_type: lora, or take `adapter_name_or_path` out",
        _MODEL_PARSER,
    ),
    *(
        Rule(
            f"{argument.replace('_', '-')}-needs-lora",
            (argument, "finetuning_type"),
            lambda view, argument=argument, off=off: not view.lora and view[argument] is not off,  # type: ignore[misc]
            f"{name} is a kind of LoRA, and `finetuning_type` is {{finetuning_type}}",
            f"set finetuning_type: lora, or take `{argument}` out",
            _METHOD_PARSER,
        )
        for argument, name, off in (
            ("loraplus_lr_ratio", "LoRA+", None),
            ("use_rslora", "rsLoRA", False),
            ("use_dora", "DoRA", False),
            ("pissa_init", "PiSSA", False),
        )
    ),
    Rule(
        "pissa-without-reference-model",
        ("pissa_init", "stage", "pref_loss"),
        lambda view: (
            view["pissa_init"]
            and (
                view["stage"] in ("ppo", "kto")
                or (view["stage"] == "dpo" and view["pref_loss"] not in ("orpo", "simpo"))
            )
        ),
        "PiSSA changes the base model's weights, which stage {stage} needs as its reference",
        "take `pissa_init` out",
        _METHOD_PARSER,
    ),
    Rule(
        "pissa-without-zero3",
        ("pissa_init", "zero.stage"),
        lambda view: view["pissa_init"] and view.zero3,
        "PiSSA needs the whole weights, which ZeRO-3 shards",
        "use zero.stage 2, or prepare the model with the library's scripts/pissa_init.py",
        _PARSER,
    ),
    Rule(
        "llama-pro-without-full",
        ("use_llama_pro", "finetuning_type"),
        lambda view: view["use_llama_pro"] and view["finetuning_type"] == "full",
        "trains the added blocks only, and `finetuning_type` is full",
        "set finetuning_type: freeze or lora, or take `use_llama_pro` out",
        _METHOD_PARSER,
    ),
    Rule(
        "llama-pro-layers",
        ("freeze_trainable_layers", "use_llama_pro"),
        _layers_not_divisible,
        "is {freeze_trainable_layers}, which does not divide the model's {found} layers",
        "set `freeze_trainable_layers` to the number of added blocks",
        "llamafactory/model/adapter.py, _setup_freeze_tuning; model_utils/misc.py, find_expanded_modules",
    ),
    Rule(
        "freeze-trains-layers",
        ("freeze_trainable_layers", "finetuning_type"),
        lambda view: (
            view["freeze_trainable_layers"] == 0
            and (view["finetuning_type"] == "freeze" or view["use_llama_pro"])
        ),
        "is 0: no layer would be trained",
        "say how many: 2 for the last two, -2 for the first two",
        "llamafactory/model/adapter.py, _setup_freeze_tuning",
    ),
    Rule(
        "oft-rank-or-block-size",
        ("oft_rank", "oft_block_size"),
        lambda view: (
            view["finetuning_type"] == "oft" and (view["oft_rank"] == 0) == (view["oft_block_size"] == 0)
        ),
        "OFT takes exactly one of `oft_rank` ({oft_rank}) and `oft_block_size` ({oft_block_size})",
        "set one of the two to 0",
        "peft/tuners/oft/config.py, OFTConfig.__post_init__",
    ),
    Rule(
        "unsloth-without-zero3",
        ("use_unsloth", "zero.stage"),
        lambda view: view["use_unsloth"] and view.zero3,
        "Unsloth does not work under ZeRO-3",
        "use zero.stage 2, or take `use_unsloth` out",
        _PARSER,
    ),
    Rule(
        "unsloth-without-oft",
        ("use_unsloth", "finetuning_type"),
        lambda view: view["use_unsloth"] and view["finetuning_type"] == "oft",
        "Unsloth knows no OFT",
        "set finetuning_type: lora, or take `use_unsloth` out",
        _ADAPTER,
    ),
    Rule(
        "kt-without-zero3",
        ("use_kt", "zero.stage"),
        lambda view: view["use_kt"] and view.zero3,
        "KTransformers does not work under ZeRO-3",
        "take `zero:` out (zero.stage: null), or `use_kt`",
        _PARSER,
    ),
    Rule(
        "kt-without-oft",
        ("use_kt", "finetuning_type"),
        lambda view: view["use_kt"] and view["finetuning_type"] == "oft",
        "KTransformers knows no OFT",
        "set finetuning_type: lora, or take `use_kt` out",
        _ADAPTER,
    ),
    Rule(
        "pure-bf16-without-zero3",
        ("pure_bf16", "zero.stage"),
        lambda view: view["pure_bf16"] and view.zero3,
        "keeps only bf16 weights, and ZeRO-3 keeps a copy in float32",
        "set bf16: true instead of `pure_bf16`, or use zero.stage 2",
        _PARSER,
    ),
    Rule(
        "fa3-for-gpt-oss",
        ("flash_attn",),
        lambda view: view["flash_attn"] == "fa3" and not _gpt_oss(view),
        "LLaMA-Factory takes fa3 for gpt-oss models only, and crashes for others",
        "set flash_attn: auto, or fa2",
        "llamafactory/model/model_utils/attention.py, configure_attn_implementation",
    ),
)
