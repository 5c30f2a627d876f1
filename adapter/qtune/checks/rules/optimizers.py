"""Rules about optimizers of a kind of their own: GaLore, APOLLO, BAdam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtune.checks.rules.view import Rule, View

_PARSER = "llamafactory/hparams/parser.py, get_train_args"
_METHOD_PARSER = "llamafactory/hparams/finetuning_args.py, FinetuningArguments.__post_init__"
_OPTIMIZER = "llamafactory/train/trainer_utils.py, create_custom_optimizer"

_GALORE_OPTIMIZERS = ("adamw_torch", "adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit", "adafactor")
_LOW_MEMORY = ("use_galore", "use_apollo", "use_badam")
_STATE_NOT_SAVED = ("adalomo", "grokadamw")


def _low_memory(view: View) -> list[str]:
    return [name for name in _LOW_MEMORY if view[name]]


def _layerwise(view: View) -> str:
    names = [name for name in ("galore", "apollo") if view[f"use_{name}"] and view[f"{name}_layerwise"]]
    return f"{''.join(names)}_layerwise" if names else ""


def unloadable_state(argument: Callable[[str], Any]) -> str:
    """The optimizer whose saved state torch refuses to load, as the config names it; "" for any other.

    argument: gives an argument's value. galore_torch 1.0 and apollo_torch 1.0.3 keep objects in that state,
    and transformers loads it by `torch.load(…, weights_only=True)`.
    """
    optim = str(argument("optim"))
    if optim.startswith(("galore_", "apollo_")) and not optim.endswith("_layerwise"):
        return f"optim {optim}"
    names = [
        name for name in ("galore", "apollo") if argument(f"use_{name}") and not argument(f"{name}_layerwise")
    ]
    return f"use_{names[0]}" if names else ""


def _state_not_saved(view: View) -> str:
    if view["optim"] in _STATE_NOT_SAVED or str(view["optim"]).endswith("_layerwise"):
        return f"optim {view['optim']}"
    return "use_badam" if view["use_badam"] else _layerwise(view)


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
    Rule(
        "optimizer-state-not-loadable",
        ("optim", "use_galore", "use_apollo"),
        lambda view: unloadable_state(view.__getitem__),
        "a training with {found} that stops cannot go on: torch refuses to load the optimizer's state",
        "train it in one go, or take another optimizer, such as paged_adamw_8bit",
        "transformers/trainer.py, Trainer._load_optimizer_and_scheduler",
        "warning",
    ),
    Rule(
        "optimizer-state-not-saved",
        ("optim", "use_badam", "galore_layerwise", "apollo_layerwise"),
        _state_not_saved,
        "a training with {found} that stops goes on to another model: the optimizer's state is lost",
        "train it in one go, or take another optimizer, such as paged_adamw_8bit",
        "transformers/trainer.py, Trainer._load_optimizer_and_scheduler",
        "warning",
    ),
)
