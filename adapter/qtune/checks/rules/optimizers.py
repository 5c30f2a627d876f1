"""Rules about optimizers of a kind of their own: GaLore, APOLLO, BAdam."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View

_PARSER = "llamafactory/hparams/parser.py, get_train_args"
_METHOD_PARSER = "llamafactory/hparams/finetuning_args.py, FinetuningArguments.__post_init__"
_OPTIMIZER = "llamafactory/train/trainer_utils.py, create_custom_optimizer"

_GALORE_OPTIMIZERS = ("adamw_torch", "adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit", "adafactor")
_LOW_MEMORY = ("use_galore", "use_apollo", "use_badam")


def _low_memory(view: View) -> list[str]:
    return [name for name in _LOW_MEMORY if view[name]]


def _layerwise(view: View) -> str:
    names = [name for name in ("galore", "apollo") if view[f"use_{name}"] and view[f"{name}_layerwise"]]
    return f"{''.join(names)}_layerwise" if names else ""


RULES = (
    Rule(
        "low-memory-optimizer-without-lora",
        (*_LOW_MEMORY, "finetuning_type"),
        lambda view: view.lora and ", ".join(_low_memory(view)),
        "GaLore, APOLLO and BAdam are for full tuning: `{found}` does not go with LoRA",
        "set finetuning_type: full, or take `{found}` out",
        _METHOD_PARSER,
    ),
    Rule(
        "one-low-memory-optimizer",
        _LOW_MEMORY,
        lambda view: len(_low_memory(view)) > 1 and " and ".join(f"`{name}`" for name in _low_memory(view)),
        "{found} are optimizers of their own",
        "keep one of them",
        _METHOD_PARSER,
    ),
    Rule(
        "galore-optimizer",
        ("optim", "use_galore"),
        lambda view: view["use_galore"] and view["optim"] not in _GALORE_OPTIMIZERS,
        "GaLore does not work with optim {optim}",
        f"set optim: adamw_torch (or one of {', '.join(_GALORE_OPTIMIZERS[1:])})",
        _OPTIMIZER,
    ),
    Rule(
        "apollo-optimizer",
        ("optim", "use_apollo"),
        lambda view: view["use_apollo"] and not view["use_galore"] and view["optim"] != "adamw_torch",
        "APOLLO does not work with optim {optim}",
        "set optim: adamw_torch",
        _OPTIMIZER,
    ),
    Rule(
        "layerwise-without-accumulation",
        ("gradient_accumulation_steps", "galore_layerwise", "apollo_layerwise"),
        lambda view: view["gradient_accumulation_steps"] != 1 and _layerwise(view),
        "is {gradient_accumulation_steps}: with `{found}` each gradient is used as soon as it is there",
        "set gradient_accumulation_steps: 1, or take `{found}` out",
        _OPTIMIZER,
    ),
    Rule(
        "layerwise-on-one-device",
        ("galore_layerwise", "apollo_layerwise", "launch.nproc_per_node"),
        lambda view: view.distributed and not view.zero and _layerwise(view),
        "`{found}` works with one GPU only, and torchrun would train this on {hardware}",
        "take `{found}` out, or train on one GPU",
        _PARSER,
    ),
    Rule(
        "galore-apollo-without-deepspeed",
        ("use_galore", "use_apollo", "zero.stage"),
        lambda view: bool(view.zero) and (view["use_galore"] or view["use_apollo"]),
        "GaLore and APOLLO do not work under DeepSpeed",
        "take `zero:` out (zero.stage: null), or the optimizer",
        _PARSER,
    ),
    Rule(
        "badam-ratio-on-one-device",
        ("badam_mode", "use_badam", "zero.stage", "launch.nproc_per_node"),
        lambda view: view["use_badam"] and view.distributed and view["badam_mode"] == "ratio",
        "BAdam by ratio works in one process without DeepSpeed only",
        "set badam_mode: layer with zero.stage 3, or train on one GPU without DeepSpeed",
        _PARSER,
    ),
    Rule(
        "badam-layer-needs-zero3",
        ("use_badam", "zero.stage", "launch.nproc_per_node"),
        lambda view: (
            view["use_badam"] and view.distributed and view["badam_mode"] == "layer" and not view.zero3
        ),
        "BAdam over several processes, or under DeepSpeed, works with ZeRO-3 only",
        "set zero.stage 3, or train on one GPU without DeepSpeed",
        _PARSER,
    ),
    Rule(
        "badam-update-ratio",
        ("badam_update_ratio",),
        lambda view: (
            view["use_badam"] and view["badam_mode"] == "ratio" and view["badam_update_ratio"] <= 1e-6
        ),
        "is {badam_update_ratio}: nothing would be updated",
        "set a share of the parameters above 0, such as 0.05",
        _OPTIMIZER,
    ),
)
