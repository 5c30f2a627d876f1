"""Rules about stages: what can be trained, measured and exported in each."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View
from qtune.config.model import has_chat_template
from qtune.config.names import quoted
from qtune.schema import snapshot

_PARSER = "llamafactory/hparams/parser.py, get_train_args"
_DATA_PARSER = "llamafactory/hparams/data_args.py, DataArguments.__post_init__"
_ONLY_SFT = ("neat_packing", "train_on_prompt", "mask_history", "predict_with_generate")
_LOSSES = ("use_dft_loss", "use_eaft_loss", "use_asft_loss")
_ENDLESS = "empty"
_EXPORTS = ("export_dir", "export_hub_model_id", "export_quantization_dataset")


def _ends_by_stop_word(template: str | None) -> bool:
    """Whether a chat template ends an answer by a stop word instead of the end-of-text token."""
    known = snapshot("chat")["templates"]
    return template in known and known[template]["efficient_eos"]


def _endless(view: View) -> str:
    """How it comes that no token is trained that ends an answer."""
    template = view["template"]
    if view["stage"] in ("pt", "ppo"):
        return ""
    if template is None:
        lacks = has_chat_template(view.train, view.root) is False
        return "no `template` is set, and the model's tokenizer has none of its own" if lacks else ""
    return f"the chat template `{template}` puts nothing behind an answer" if template == _ENDLESS else ""


RULES = (
    Rule(
        "only-for-sft",
        ("stage", *_ONLY_SFT),
        lambda view: view["stage"] != "sft" and quoted(name for name in _ONLY_SFT if view[name]),
        "{found} works in stage sft only; `stage` is {stage}",
        "take it out, or set stage: sft",
        _PARSER,
    ),
    Rule(
        "prompt-or-history",
        ("train_on_prompt", "mask_history"),
        lambda view: view["mask_history"] and view["train_on_prompt"],
        "`train_on_prompt` trains on what `mask_history` leaves out",
        "keep one of the two",
        _DATA_PARSER,
    ),
    Rule(
        "train-on-prompt-template",
        ("train_on_prompt", "template"),
        lambda view: view["train_on_prompt"] and _ends_by_stop_word(view["template"]),
        "the chat template {template} ends answers in a way that does not allow it",
        "take `train_on_prompt` out",
        "llamafactory/data/template.py, get_template_and_fix_tokenizer",
    ),
    Rule(
        "answers-end",
        ("template", "model_name_or_path"),
        _endless,
        "{found}: the model does not learn to end its answers",
        "set `template` to the model's own; for a base model e.g. template: default, whose answers end in its"
        " end-of-text token",
        "llamafactory/data/template.py, get_template_and_fix_tokenizer; its template `empty`",
        "warning",
    ),
    Rule(
        "predict-needs-generate",
        ("do_predict", "predict_with_generate"),
        lambda view: view["stage"] == "sft" and view["do_predict"] and not view["predict_with_generate"],
        "writes the model's answers, which `predict_with_generate` makes",
        "set predict_with_generate: true, or take `do_predict` out",
        _PARSER,
    ),
    Rule(
        "generate-without-zero3",
        ("predict_with_generate", "zero.stage"),
        lambda view: view["predict_with_generate"] and view.zero3,
        "ZeRO-3 cannot generate during evaluation",
        "use zero.stage 2, or take `predict_with_generate` out and generate after training",
        _PARSER,
    ),
    Rule(
        "generate-or-accuracy",
        ("compute_accuracy", "predict_with_generate"),
        lambda view: view["predict_with_generate"] and view["compute_accuracy"],
        "does not go with `predict_with_generate`",
        "take one of the two out",
        _PARSER,
    ),
    Rule(
        "kt-without-metrics",
        ("predict_with_generate", "compute_accuracy", "use_kt"),
        lambda view: (
            view["use_kt"]
            and view["stage"] == "sft"
            and (view["predict_with_generate"] or view["compute_accuracy"])
        ),
        "KTransformers computes neither generations nor accuracy",
        "take it out, or take `use_kt` out",
        "llamafactory/train/sft/workflow.py, run_sft",
    ),
    Rule(
        "asft-needs-reference-model",
        ("use_asft_loss", "finetuning_type"),
        lambda view: (
            view["use_asft_loss"] and view["stage"] == "sft" and view.lora and view["ref_model"] is None
        ),
        "needs a reference model, and LLaMA-Factory makes none for LoRA: it crashes at the first step",
        "set ref_model: auto, which is the same as `model_name_or_path`",
        "llamafactory/train/trainer_utils.py, create_ref_model; train/sft/trainer.py, compute_loss",
    ),
    Rule(
        "asft-without-evaluation",
        ("eval_strategy", "do_eval", "use_asft_loss"),
        lambda view: (
            view["use_asft_loss"]
            and view["stage"] == "sft"
            and (view.evaluates or view["do_eval"])
            and not view["predict_with_generate"]
        ),
        "LLaMA-Factory cannot evaluate with `use_asft_loss`: it crashes at the first evaluation",
        "set eval_strategy: auto, which leaves it out then, or take `use_asft_loss` out",
        "llamafactory/train/sft/trainer.py, compute_loss (return_outputs)",
    ),
    Rule(
        "one-loss",
        _LOSSES,
        lambda view: (
            sum(view[name] for name in _LOSSES) > 1 and quoted(name for name in _LOSSES if view[name])
        ),
        "each of {found} is a loss of its own, of which LLaMA-Factory takes the first",
        "keep one of them",
        "llamafactory/train/sft/trainer.py, CustomSeq2SeqTrainer.__init__",
    ),
    Rule(
        "training-runs-on-huggingface",
        ("infer_backend",),
        lambda view: view["infer_backend"] != "huggingface",
        "is {infer_backend}, which is for inference only",
        "take it out",
        _PARSER,
    ),
    *(
        Rule(
            f"{kind}-pixels",
            (f"{kind}_max_pixels", f"{kind}_min_pixels"),
            lambda view, kind=kind: view[f"{kind}_max_pixels"] < view[f"{kind}_min_pixels"],  # type: ignore[misc]
            f"`{kind}_max_pixels` {{{kind}_max_pixels}} is below `{kind}_min_pixels` {{{kind}_min_pixels}}",
            "make it the larger one",
            "llamafactory/hparams/model_args.py, ProcessorArguments.__post_init__",
        )
        for kind in ("image", "video")
    ),
    Rule(
        "export-quantization-dataset",
        ("export_quantization_bit",),
        lambda view: (
            view["export_quantization_bit"] is not None and view["export_quantization_dataset"] is None
        ),
        "needs `export_quantization_dataset`, even where nothing is exported",
        "take it out: exporting is another step, with a config of its own",
        "llamafactory/hparams/model_args.py, ExportArguments.__post_init__",
    ),
    Rule(
        "export-apart",
        _EXPORTS,
        lambda view: any(view[key] is not None for key in _EXPORTS),
        "has no effect in training: exporting is another step, with a config of its own",
        "take it out",
        "llamafactory/train/tuner.py, export_model",
        "warning",
    ),
)
