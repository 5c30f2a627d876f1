"""Rules of transformers' trainer: precision, checkpoints, evaluation, steps, data loaders."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View
from qtune.config.names import quoted
from qtune.data.registrations import names_in

_ARGUMENTS = "transformers/training_args.py, TrainingArguments._validate_args"
_FILLED_IN = "transformers/training_args.py, TrainingArguments.__post_init__"
_TRAINER = "transformers/trainer.py, Trainer.create_accelerator_and_postprocess"
_METRIC_SCHEDULERS = ("reduce_lr_on_plateau", "greedy")
_MULTIPLIER = 1_000_000  # theirs, against rounding


def _fraction_above_one(view: View) -> str:
    steps = {
        "logging_steps": (view["logging_strategy"] == "steps", view["logging_steps"]),
        "eval_steps": (view["eval_strategy"] == "steps", view.evaluation_steps),
        "save_steps": (view["save_strategy"] == "steps", view["save_steps"]),
    }
    return ", ".join(
        f"`{name}` is {value}"
        for name, (used, value) in steps.items()
        if used and value > 1 and value != int(value)
    )


def _steps_not_a_multiple(view: View) -> bool:
    """For a best model to be loaded, saved in steps and evaluated in steps."""
    if not view["load_best_model_at_end"] or {view["save_strategy"], view["eval_strategy"]} != {"steps"}:
        return False
    saving, evaluating = view["save_steps"], view.evaluation_steps
    if evaluating == 0 or saving % evaluating == 0:
        return False
    if evaluating < 1 and saving < 1:
        return bool((saving * _MULTIPLIER) % (evaluating * _MULTIPLIER) != 0)
    return True


def _lacks_metric(view: View) -> str:
    """What asks for the better model, where nothing says which one that is."""
    if view["metric_for_best_model"] is not None or _judged_apart(view):
        return ""
    judged = _judged(view)
    return "" if judged in ("load_best_model_at_end", "lr_scheduler_type") else judged


def _judged(view: View) -> str:
    """What asks for the better model; the first two take the loss where nothing else is said."""
    if view["load_best_model_at_end"]:
        return "load_best_model_at_end"
    if view["lr_scheduler_type"] in _METRIC_SCHEDULERS:
        return "lr_scheduler_type"
    if view["save_strategy"] == "best":
        return "save_strategy: best"
    return "early_stopping_steps" if view["early_stopping_steps"] is not None and view["do_train"] else ""


def _judged_apart(view: View) -> list[str]:
    """The evaluation datasets where each gets metrics of its own, named eval_NAME_loss and so on."""
    return names_in(view["eval_dataset"]) if view.evaluates and view["eval_on_each_dataset"] else []


def _no_such_metric(view: View) -> str:
    names = _judged_apart(view)
    metric = "eval_" + (view["metric_for_best_model"] or "loss").removeprefix("eval_")
    if not names or not _judged(view) or metric.startswith(tuple(f"eval_{name}_" for name in names)):
        return ""
    return f"`{metric}`, only as {quoted(f'eval_{name}_loss' for name in names)}"


RULES = (
    Rule(
        "one-precision",
        ("fp16", "bf16"),
        lambda view: view["fp16"] and view["bf16"],
        "`fp16` and `bf16` are both on",
        "keep one; bf16: auto and fp16: auto choose what the GPU computes in",
        _ARGUMENTS,
    ),
    Rule(
        "one-evaluation-precision",
        ("fp16_full_eval", "bf16_full_eval"),
        lambda view: view["fp16_full_eval"] and view["bf16_full_eval"],
        "`fp16_full_eval` and `bf16_full_eval` are both on",
        "keep one of the two",
        _ARGUMENTS,
    ),
    Rule(
        "best-model-needs-equal-strategies",
        ("load_best_model_at_end", "save_strategy", "eval_strategy"),
        lambda view: (
            view["load_best_model_at_end"] and view["save_strategy"] not in ("best", view["eval_strategy"])
        ),
        "needs equal strategies: `save_strategy` is {save_strategy}, `eval_strategy` {eval_strategy}",
        "set both to steps or both to epoch, or load_best_model_at_end: auto",
        _ARGUMENTS,
    ),
    Rule(
        "best-model-needs-equal-steps",
        ("save_steps", "eval_steps", "logging_steps", "load_best_model_at_end"),
        _steps_not_a_multiple,
        "load_best_model_at_end needs an evaluation at each checkpoint: `save_steps` is {save_steps}, and"
        " `eval_steps` {eval_steps} (null: `logging_steps`, {logging_steps})",
        "make `save_steps` a multiple of `eval_steps`, both whole or both below 1; eval_steps: auto is equal",
        _ARGUMENTS,
    ),
    Rule(
        "best-model-needs-whole-checkpoints",
        ("save_only_model", "load_best_model_at_end", "zero.stage", "fsdp", "launch.launcher"),
        lambda view: (
            view["save_only_model"]
            and view["load_best_model_at_end"]
            and ("DeepSpeed" if view.zero else "FSDP" if view.fsdp else "")
        ),
        "under {found} the best model is loaded from a whole checkpoint",
        "take `save_only_model` out, or set load_best_model_at_end: auto",
        _TRAINER,
    ),
    Rule(
        "resume-needs-whole-checkpoints",
        ("save_only_model", "resume_from_checkpoint", "zero.stage"),
        lambda view: view["save_only_model"] and bool(view.zero) and bool(view["resume_from_checkpoint"]),
        "DeepSpeed cannot resume from a checkpoint that holds the model alone",
        "take `save_only_model` out, or `resume_from_checkpoint`",
        "transformers/integrations/deepspeed.py, deepspeed_load_checkpoint",
    ),
    Rule(
        "deepspeed-saves-whole-checkpoints",
        ("save_only_model", "zero.stage"),
        lambda view: view["save_only_model"] and bool(view.zero) and not view["resume_from_checkpoint"],
        "under DeepSpeed such checkpoints cannot be continued",
        "take it out unless an interrupted training may start anew",
        "transformers/integrations/deepspeed.py, deepspeed_load_checkpoint",
        "warning",
    ),
    Rule(
        "best-needs-metric",
        ("save_strategy", "early_stopping_steps"),
        _lacks_metric,
        "`{found}` needs to know what is better",
        "set metric_for_best_model: loss, or load_best_model_at_end: true",
        "transformers/trainer.py, Trainer._validate_args; trainer_callback.py, EarlyStoppingCallback",
    ),
    Rule(
        "metric-of-each-dataset",
        ("metric_for_best_model", "eval_on_each_dataset", "load_best_model_at_end", "save_strategy"),
        _no_such_metric,
        "each evaluation dataset has metrics of its own, so nothing is measured as {found}",
        "set metric_for_best_model to the one that counts, or take `eval_on_each_dataset` out",
        "transformers/trainer.py, Trainer.evaluate and _determine_best_metric; trainer_callback.py",
    ),
    Rule(
        "early-stopping-needs-evaluation",
        ("early_stopping_steps", "eval_strategy"),
        lambda view: view["early_stopping_steps"] is not None and view["do_train"] and not view.evaluates,
        "stops by evaluations, and `eval_strategy` is no",
        "set eval_strategy: steps with evaluation data, or take `early_stopping_steps` out",
        "transformers/trainer_callback.py, EarlyStoppingCallback.on_train_begin",
    ),
    Rule(
        "scheduler-needs-evaluation",
        ("lr_scheduler_type", "eval_strategy"),
        lambda view: view["lr_scheduler_type"] in _METRIC_SCHEDULERS and not view.evaluates,
        "{lr_scheduler_type} follows the evaluation loss, and `eval_strategy` is no",
        "set eval_strategy: steps with evaluation data, or another lr_scheduler_type such as cosine",
        _ARGUMENTS,
    ),
    Rule(
        "whole-steps",
        ("save_steps", "eval_steps", "logging_steps"),
        _fraction_above_one,
        "{found}: above 1 it counts steps",
        "write a whole number, or a share of all steps below 1",
        _ARGUMENTS,
    ),
    Rule(
        "logging-steps",
        ("logging_steps",),
        lambda view: view["logging_strategy"] == "steps" and view["logging_steps"] == 0,
        "is 0",
        'write 1 or more, or logging_strategy: "no"',
        _ARGUMENTS,
    ),
    Rule(
        "evaluation-steps",
        ("eval_steps", "logging_steps"),
        lambda view: (
            view["eval_strategy"] == "steps"
            and not view["eval_steps"]
            and (
                view["logging_steps"] < 0
                or (view["logging_steps"] == 0 and view["logging_strategy"] != "steps")
            )
        ),
        "nothing says when to evaluate: `eval_steps` is {eval_steps}, `logging_steps` {logging_steps}",
        "set `eval_steps`; auto makes it the same as `save_steps`",
        _FILLED_IN,
    ),
    Rule(
        "prefetch-needs-workers",
        ("dataloader_prefetch_factor", "dataloader_num_workers"),
        lambda view: view["dataloader_num_workers"] == 0 and view["dataloader_prefetch_factor"] is not None,
        "workers fetch ahead, and `dataloader_num_workers` is 0",
        "set dataloader_num_workers: 1 or more, or take `dataloader_prefetch_factor` out",
        _ARGUMENTS,
    ),
    Rule(
        "persistent-workers-need-workers",
        ("dataloader_persistent_workers", "dataloader_num_workers"),
        lambda view: view["dataloader_num_workers"] == 0 and view["dataloader_persistent_workers"],
        "there are no workers to keep: `dataloader_num_workers` is 0",
        "set dataloader_num_workers: 1 or more, or take `dataloader_persistent_workers` out",
        "torch/utils/data/dataloader.py, DataLoader.__init__",
    ),
    Rule(
        "something-to-train",
        ("num_train_epochs", "max_steps"),
        lambda view: view["do_train"] and view["num_train_epochs"] <= 0 and view["max_steps"] <= 0,
        "is {num_train_epochs}: nothing would be trained",
        "set it above 0, or `max_steps`",
        "transformers/trainer.py, Trainer.set_initial_training_values",
    ),
)
