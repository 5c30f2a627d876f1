"""Rules about arguments that nothing reads: those of something that is off, or of another stage."""

from __future__ import annotations

from collections.abc import Callable

from qtune.checks.rules.view import Rule, View
from qtune.config.names import quoted
from qtune.config.project import FILE
from qtune.schema import arguments

_ADAPTER = "llamafactory/model/adapter.py"
_OPTIMIZERS = "llamafactory/train/trainer_utils.py, create_custom_optimizer"
_BNB = ("quantization_type", "double_quantization")
_LORA = ("lora_rank", "lora_alpha", "lora_dropout", "lora_target")
_REFERENCE = ("ref_model", "ref_model_adapters", "ref_model_quantization_bit")
_LOSSES = ("use_dft_loss", "use_asft_loss", "use_eaft_loss", "asft_alpha", "eaft_alpha")
_OF_PICTURES = ("vision", "visual", "audio", "thinker", "text_config")  # in a key of config.json


def _of(*prefixes: str) -> tuple[str, ...]:
    return tuple(name for name in arguments() if name.startswith(prefixes))


def without_reference(view: View) -> bool:
    """Whether nothing holds the training near a reference model."""
    if view["stage"] == "dpo":
        return view["pref_loss"] in ("orpo", "simpo")
    return view["stage"] not in ("ppo", "kto") and not (view["stage"] == "sft" and view["use_asft_loss"])


def _reads_text_alone(view: View) -> bool:
    known = "model_type" in view.model
    return known and not any(word in key for key in view.model for word in _OF_PICTURES)


def _row(
    id: str,
    names: tuple[str, ...],
    off: Callable[[View], bool],
    switches: tuple[str, ...],
    because: str,
    fix: str,
    source: str,
    *,
    defaults: bool = False,
) -> Rule:
    """A warning about those of `names` that are set where nothing reads them.

    switches: the arguments that decide whether something does, which it does not where `off` says so.
    defaults: whether to set one to the library's own default says that something was meant.
    """
    return Rule(
        id,
        names,
        lambda view: (
            quoted(found) if (found := _meant(view, names, switches, defaults)) and off(view) else ""
        ),
        f"{{found}} without effect: {because}",
        fix,
        source,
        "warning",
    )


def _meant(view: View, names: tuple[str, ...], switches: tuple[str, ...], defaults: bool) -> list[str]:
    """Those of `names` that somebody set for this training.

    Not those that a lower layer set for what a higher one has turned off, nor those that qtune.yaml sets for
    the presets that read them.
    """
    if view.train.keys().isdisjoint(names):
        return []
    given = {
        name: value
        for name in names
        if (value := view.config.find("train", name)) is not None
        and (defaults or value.value != arguments()[name].default)
    }
    decided = view.decided(switches) if given else -1
    return [
        name
        for name, value in given.items()
        if (rank := view.rank(name)) >= max(decided, 0)
        and not (rank > decided >= 0 and value.origin.file == FILE)
    ]


def _switched(id: str, switch: str, names: tuple[str, ...], source: str) -> Rule:
    """The settings of one thing that an argument turns on."""
    off = f"`{switch}` is off"
    fix = f"set {switch}: true, or take it out"
    return _row(id, names, lambda view: not view[switch], (switch,), off, fix, source)


def _of_stage(id: str, stages: tuple[str, ...], names: tuple[str, ...], source: str) -> Rule:
    read = " and ".join(stages)
    return _row(
        id,
        names,
        lambda view: view["stage"] not in stages,
        ("stage",),
        f"it is for stage {read}, and `stage` is {{stage}}",
        f"take it out, or set stage: {stages[0]}",
        source,
    )


def _replaced(id: str, block: str, names: tuple[str, ...], whose: str) -> Rule:
    """Arguments of what a block of DeepSpeed takes the place of."""
    return _row(
        id,
        names,
        lambda view: block in view.deepspeed,
        (f"deepspeed.{block}",),
        f"`deepspeed.{block}` takes the place of the Trainer's {whose}",
        f"take it out, or the block `{block}` of `deepspeed:`",
        "transformers/integrations/deepspeed.py, deepspeed_optim_sched",
    )


RULES = (
    _row(
        "quantization-settings-need-bits",
        ("quantization_method", *_BNB),
        lambda view: view["quantization_bit"] is None,
        ("quantization_bit",),
        "without `quantization_bit` nothing is quantised",
        "set quantization_bit: 4, or take it out",
        "llamafactory/model/model_utils/quantization.py, configure_quantization",
        defaults=True,
    ),
    _row(
        "quantization-type-is-for-bnb-4",
        _BNB,
        lambda view: (
            view["quantization_bit"] is not None
            and (view["quantization_method"], view["quantization_bit"]) != ("bnb", 4)
        ),
        ("quantization_bit", "quantization_method"),
        "it is for bnb in 4 bits, and this is {quantization_method} in {quantization_bit}",
        "take it out, or set quantization_method: bnb and quantization_bit: 4",
        "llamafactory/model/model_utils/quantization.py, configure_quantization",
    ),
    _row(
        "lora-settings-need-lora",
        (*_LORA, "pissa_iter", "loraplus_lr_embedding"),
        lambda view: not view.lora,
        ("finetuning_type",),
        "`finetuning_type` is {finetuning_type}",
        "set finetuning_type: lora, or take it out",
        f"{_ADAPTER}, _setup_lora_tuning",
    ),
    _row(
        "adapter-settings-need-adapter",
        ("additional_target", "create_new_adapter"),
        lambda view: view["finetuning_type"] not in ("lora", "oft"),
        ("finetuning_type",),
        "`finetuning_type` is {finetuning_type}",
        "set finetuning_type: lora, or take it out",
        f"{_ADAPTER}, _setup_lora_tuning",
    ),
    _row(
        "loaded-adapter-has-its-own-settings",
        (*_LORA, "use_rslora", "use_dora", "pissa_init", "additional_target"),
        lambda view: view.lora and bool(view.adapters) and not view["create_new_adapter"],
        ("adapter_name_or_path", "create_new_adapter"),
        "the adapter of `adapter_name_or_path` is trained on, as it was made",
        "take it out; or set create_new_adapter: true, which merges that one and starts another",
        f"{_ADAPTER}, _setup_lora_tuning (adapter_to_resume)",
    ),
    _row(
        "oft-settings-need-oft",
        ("module_dropout", "oft_rank", "oft_block_size", "oft_target"),
        lambda view: view["finetuning_type"] != "oft",
        ("finetuning_type",),
        "`finetuning_type` is {finetuning_type}",
        "set finetuning_type: oft, or take it out",
        f"{_ADAPTER}, _setup_lora_tuning",
    ),
    _row(
        "freeze-layers-need-freeze",
        ("freeze_trainable_layers",),
        lambda view: view["finetuning_type"] != "freeze" and not view["use_llama_pro"],
        ("finetuning_type", "use_llama_pro"),
        "`finetuning_type` is {finetuning_type}",
        "set finetuning_type: freeze, or take it out",
        f"{_ADAPTER}, _setup_freeze_tuning; _setup_lora_tuning (use_llama_pro)",
    ),
    _row(
        "freeze-modules-need-freeze",
        ("freeze_trainable_modules", "freeze_extra_modules"),
        lambda view: view["finetuning_type"] != "freeze",
        ("finetuning_type",),
        "`finetuning_type` is {finetuning_type}",
        "set finetuning_type: freeze, or take it out",
        f"{_ADAPTER}, _setup_freeze_tuning",
    ),
    _row(
        "freezing-parts-needs-parts",
        ("freeze_vision_tower", "freeze_multi_modal_projector", "freeze_language_model"),
        _reads_text_alone,
        ("model_name_or_path",),
        "the model reads text alone, and has no such parts",
        "take it out",
        "llamafactory/model/model_utils/visual.py, get_forbidden_modules",
    ),
    _switched("galore-settings-need-galore", "use_galore", _of("galore_"), _OPTIMIZERS),
    _switched("apollo-settings-need-apollo", "use_apollo", _of("apollo_"), _OPTIMIZERS),
    _switched("badam-settings-need-badam", "use_badam", _of("badam_"), _OPTIMIZERS),
    *(
        _row(
            f"badam-settings-by-{mode}",
            names,
            lambda view, mode=mode: view["use_badam"] and view["badam_mode"] != mode,  # type: ignore[misc]
            ("badam_mode",),
            "`badam_mode` is {badam_mode}",
            f"set badam_mode: {mode}, or take it out",
            "llamafactory/train/trainer_utils.py, _create_badam_optimizer",
        )
        for mode, names in (
            ("layer", ("badam_start_block", "badam_switch_mode", "badam_switch_interval")),
            ("ratio", ("badam_update_ratio", "badam_mask_mode")),
        )
    ),
    _switched(
        "swanlab-settings-need-swanlab",
        "use_swanlab",
        _of("swanlab_"),
        "llamafactory/train/trainer_utils.py, get_swanlab_callback",
    ),
    _switched(
        "kt-settings-need-kt",
        "use_kt",
        _of("kt_"),
        "llamafactory/hparams/model_args.py, KTransformersArguments.apply_kt_config",
    ),
    _switched(
        "fp8-settings-need-fp8",
        "fp8",
        _of("fp8_"),
        "llamafactory/train/fp8_utils.py, configure_fp8_environment",
    ),
    _switched(
        "hub-settings-need-push",
        "push_to_hub",
        ("hub_model_id", "hub_strategy", "hub_private_repo", "hub_always_push", "hub_revision"),
        "transformers/trainer.py, Trainer.init_hf_repo",
    ),
    _switched(
        "buffer-size-needs-streaming",
        "streaming",
        ("buffer_size",),
        "llamafactory/data/data_utils.py, split_dataset",
    ),
    _switched("pissa-iter-needs-pissa", "pissa_init", ("pissa_iter",), f"{_ADAPTER}, _setup_lora_tuning"),
    _row(
        "loraplus-embedding-needs-loraplus",
        ("loraplus_lr_embedding",),
        lambda view: view.lora and view["loraplus_lr_ratio"] is None,
        ("loraplus_lr_ratio",),
        "`loraplus_lr_ratio` is not set",
        "set loraplus_lr_ratio: 16, or take it out",
        _OPTIMIZERS,
    ),
    _of_stage(
        "preference-settings-need-pairs-or-judgements",
        ("dpo", "kto"),
        ("pref_beta", "pref_ftx"),
        "llamafactory/train/dpo/trainer.py; train/kto/trainer.py",
    ),
    _of_stage(
        "dpo-settings-need-dpo",
        ("dpo",),
        ("pref_loss", "pref_bco_weight", "dpo_label_smoothing", "ld_alpha", "simpo_gamma"),
        "llamafactory/train/dpo/trainer.py, CustomDPOTrainer.__init__",
    ),
    _row(
        "simpo-gamma-needs-simpo",
        ("simpo_gamma",),
        lambda view: view["stage"] == "dpo" and view["pref_loss"] != "simpo",
        ("pref_loss",),
        "`pref_loss` is {pref_loss}",
        "set pref_loss: simpo, or take it out",
        "llamafactory/train/dpo/trainer.py, CustomDPOTrainer.compute_preference_loss",
    ),
    _of_stage(
        "kto-settings-need-kto",
        ("kto",),
        ("kto_chosen_weight", "kto_rejected_weight"),
        "llamafactory/train/kto/trainer.py, CustomKTOTrainer.__init__",
    ),
    _of_stage(
        "ppo-settings-need-ppo",
        ("ppo",),
        _of("ppo_", "reward_model"),
        "llamafactory/train/ppo/workflow.py, run_ppo",
    ),
    _of_stage(
        "losses-need-sft",
        ("sft",),
        _LOSSES,
        "llamafactory/train/sft/trainer.py, CustomSeq2SeqTrainer.__init__",
    ),
    *(
        _row(
            f"{loss}-alpha-needs-its-loss",
            (f"{loss}_alpha",),
            lambda view, switch=f"use_{loss}_loss": view["stage"] == "sft" and not view[switch],  # type: ignore[misc]
            (f"use_{loss}_loss",),
            f"`use_{loss}_loss` is off",
            f"set use_{loss}_loss: true, or take it out",
            "llamafactory/train/sft/trainer.py, CustomSeq2SeqTrainer.__init__",
        )
        for loss in ("asft", "eaft")
    ),
    _row(
        "reference-model-is-for-preferences",
        _REFERENCE,
        without_reference,
        ("stage", "pref_loss", "use_asft_loss"),
        "nothing here compares with a reference model",
        "take it out; stages ppo, kto and dpo compare, but for pref_loss orpo and simpo, and use_asft_loss",
        "llamafactory/train/trainer_utils.py, create_ref_model",
    ),
    _row(
        "reference-settings-need-reference-model",
        _REFERENCE[1:],
        lambda view: not without_reference(view) and view["ref_model"] is None,
        ("ref_model",),
        "`ref_model` is not set",
        "set ref_model, for example to the same as `model_name_or_path`; or take it out",
        "llamafactory/train/trainer_utils.py, create_ref_model",
    ),
    _row(
        "engines-are-for-inference",
        _of("vllm_", "sglang_"),
        lambda view: view["do_train"],
        ("do_train",),
        "a training starts no such engine",
        "take it out",
        "llamafactory/hparams/parser.py, get_train_args (infer_backend)",
    ),
    _replaced(
        "trainers-optimizer-replaced",
        "optimizer",
        (
            *("optim", "optim_args", "optim_target_modules", "loraplus_lr_ratio", "loraplus_lr_embedding"),
            *("use_badam", "use_adam_mini", "use_muon"),
        ),
        "optimizer",
    ),
    _replaced(
        "trainers-schedule-replaced", "scheduler", ("lr_scheduler_type", "lr_scheduler_kwargs"), "schedule"
    ),
)
