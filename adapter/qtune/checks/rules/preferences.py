"""Rules about the stages that learn what people prefer: rm, ppo, dpo."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View

_PARSER = "llamafactory/hparams/parser.py, get_train_args"
_METHOD_PARSER = "llamafactory/hparams/finetuning_args.py, FinetuningArguments.__post_init__"
_PPO_LOGGERS = ("wandb", "tensorboard", "trackio", "none")


def _ppo_logger(view: View) -> str:
    other = [name for name in view.loggers if name not in _PPO_LOGGERS]
    return ", ".join(other) if view["stage"] == "ppo" else ""


RULES = (
    Rule(
        "rm-ppo-without-best-model",
        ("load_best_model_at_end", "stage"),
        lambda view: view["stage"] in ("rm", "ppo") and view["load_best_model_at_end"],
        "stage {stage} cannot load its best model",
        "take it out; load_best_model_at_end: auto knows",
        _PARSER,
    ),
    Rule(
        "rm-ppo-resume-with-lora",
        ("resume_from_checkpoint", "stage", "finetuning_type"),
        lambda view: (
            view["stage"] in ("rm", "ppo")
            and view["finetuning_type"] in ("full", "freeze")
            and bool(view["resume_from_checkpoint"])
        ),
        "has no effect: stage {stage} with finetuning_type {finetuning_type} starts anew",
        "take it out",
        _PARSER,
        "warning",
    ),
    Rule(
        "ppo-needs-reward-model",
        ("stage",),
        lambda view: view["stage"] == "ppo" and view["reward_model"] is None,
        "stage ppo needs a model that judges answers",
        "set `reward_model` to what stage rm trained",
        _METHOD_PARSER,
    ),
    Rule(
        "ppo-reward-model-type",
        ("reward_model_type", "finetuning_type"),
        lambda view: view["stage"] == "ppo" and view["reward_model_type"] == "lora" and not view.lora,
        "is lora, an adapter on the trained model, which finetuning_type {finetuning_type} changes",
        "set reward_model_type: full, or finetuning_type: lora",
        _METHOD_PARSER,
    ),
    Rule(
        "ppo-reward-adapter-library",
        ("reward_model_type", "use_unsloth", "use_kt"),
        lambda view: (
            view["stage"] == "ppo"
            and view["reward_model_type"] == "lora"
            and ("KTransformers" if view["use_kt"] else "Unsloth" if view["use_unsloth"] else "")
        ),
        "is lora, which {found} cannot load beside the trained adapter",
        "set reward_model_type: full",
        _PARSER,
    ),
    Rule(
        "ppo-reward-server",
        ("reward_model", "reward_model_type"),
        lambda view: (
            view["stage"] == "ppo"
            and view["reward_model_type"] == "api"
            and not str(view["reward_model"] or "http").startswith("http")
        ),
        "is {reward_model}, which is no address of a server",
        "write it whole, starting with http:// or https://",
        "llamafactory/train/trainer_utils.py, create_reward_model",
    ),
    Rule(
        "ppo-trains",
        ("do_train", "stage"),
        lambda view: view["stage"] == "ppo" and not view["do_train"],
        "stage ppo can only train",
        "set do_train: true, or stage: sft to evaluate",
        _PARSER,
    ),
    Rule(
        "ppo-without-evaluation",
        ("eval_dataset", "val_size", "stage"),
        lambda view: view["stage"] == "ppo" and view.evaluation_data,
        "stage ppo takes no evaluation data",
        "set it to null",
        "llamafactory/train/ppo/trainer.py, CustomPPOTrainer.__init__",
    ),
    Rule(
        "ppo-without-resume",
        ("resume_from_checkpoint", "stage"),
        lambda view: view["stage"] == "ppo" and view.lora and bool(view["resume_from_checkpoint"]),
        "stage ppo cannot be resumed",
        "take it out, and name the checkpoint as `adapter_name_or_path`",
        "llamafactory/train/ppo/trainer.py, CustomPPOTrainer.ppo_train",
    ),
    Rule(
        "ppo-without-shift-attn",
        ("shift_attn", "stage"),
        lambda view: view["stage"] == "ppo" and view["shift_attn"],
        "stage ppo does not go with shifted attention",
        "take `shift_attn` out",
        _PARSER,
    ),
    Rule(
        "ppo-loggers",
        ("report_to", "stage"),
        _ppo_logger,
        "stage ppo does not log to {found}",
        f"use {', '.join(_PPO_LOGGERS[:-1])} or none",
        _PARSER,
    ),
    Rule(
        "dpo-label-smoothing",
        ("dpo_label_smoothing", "pref_loss"),
        lambda view: (
            view["stage"] == "dpo" and view["pref_loss"] != "sigmoid" and view["dpo_label_smoothing"] > 1e-6
        ),
        "works with pref_loss sigmoid only; it is {pref_loss}",
        "set pref_loss: sigmoid, or take `dpo_label_smoothing` out",
        _METHOD_PARSER,
    ),
)
