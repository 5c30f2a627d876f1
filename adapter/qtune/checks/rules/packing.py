"""Rules about `neat_packing`, which promises that no row of a sequence sees another."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View

_PATCHER = "llamafactory/model/patcher.py, patch_qwen3_5_forward"
_PATCHED = {
    "qwen3_5": "Qwen3_5ForConditionalGeneration",
    "qwen3_5_moe": "Qwen3_5MoeForConditionalGeneration",
}


def _is_patched(view: View) -> bool:
    """Whether LLaMA-Factory hands the rows' bounds on to the layers that carry a state."""
    architecture = _PATCHED.get(view.recurrent)
    named = view.model.get("architectures", [architecture])  # a hub's model is taken for what its name says
    return view["flash_attn"] == "fa2" and architecture is not None and named == [architecture]


def _leaks(view: View) -> str:
    return view.recurrent if view["neat_packing"] and not _is_patched(view) else ""


def _several_sequences(view: View) -> str:
    """Batches above 1 where the collator refuses them, or the patched layers would mix their rows."""
    falls_back = view.hardware.is_cpu or view.lacks("flash_attn")
    if not view["neat_packing"] or view["flash_attn"] != "fa2" or (falls_back and not _is_patched(view)):
        return ""
    batches = ["per_device_train_batch_size", *(["per_device_eval_batch_size"] if view.evaluates else [])]
    return ", ".join(f"`{name}` is {view[name]}" for name in batches if view[name] > 1)


RULES = (
    Rule(
        "neat-packing-without-state",
        ("neat_packing", "flash_attn", "model_name_or_path"),
        _leaks,
        "`neat_packing` keeps rows apart in attention alone, and {found} carries a state from row to row",
        "set neat_packing: false; Qwen3.5 alone keeps rows apart, with flash_attn: fa2 and the packages"
        " flash-attn and flash-linear-attention",
        f"{_PATCHER}; data/collator.py, prepare_4d_attention_mask",
    ),
    Rule(
        "neat-packing-one-sequence",
        ("per_device_train_batch_size", "per_device_eval_batch_size", "flash_attn", "neat_packing"),
        _several_sequences,
        "{found}, and with flash_attn: fa2 LLaMA-Factory takes one packed sequence at a time",
        "set it to 1, and more gradient_accumulation_steps",
        "llamafactory/data/collator.py, SFTDataCollatorWith4DAttentionMask.__call__",
    ),
    Rule(
        "flash-linear-attention-is-installed",
        ("flash_attn", "model_name_or_path"),
        lambda view: view["flash_attn"] == "fa2" and view.recurrent in _PATCHED and view.lacks("fla"),
        "is fa2, with which Qwen3.5's layers become those of a package that is not installed here",
        "pip install 'flash-linear-attention>=0.4.1' beside LLaMA-Factory, or set flash_attn: auto",
        "llamafactory/model/patcher.py, _check_fla_dependencies",
    ),
)
