"""Rules about packages that a training on this machine needs and does not find."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View

_DEPENDENCIES = "llamafactory/hparams/parser.py, _check_extra_dependencies"
# Argument, its value that needs the package (None: any), the module, and what installs it.
_PACKAGES = (
    ("use_galore", True, "galore_torch", "galore_torch"),
    ("use_apollo", True, "apollo_torch", "apollo_torch"),
    ("use_badam", True, "badam", "'badam>=1.2.1'"),
    ("use_adam_mini", True, "adam_mini", "adam-mini"),
    ("use_unsloth", True, "unsloth", "unsloth"),
    ("enable_liger_kernel", True, "liger_kernel", "liger-kernel"),
    ("mixture_of_depths", None, "MoD", "'mixture-of-depth>=1.1.6'"),
    ("use_kt", True, "kt_kernel", "kt-kernel transformers-kt accelerate-kt"),
    ("use_swanlab", True, "swanlab", "swanlab"),
    ("plot_loss", True, "matplotlib", "matplotlib"),
)
_MORE_PACKAGES = (
    ("use_liger_kernel", "liger_kernel", "liger-kernel", "transformers/trainer.py, Trainer.__init__"),
    (
        "use_hyper_parallel",
        "hyper_parallel",
        "hyper_parallel",
        "llamafactory/train/tuner.py, _training_function",
    ),
)
_GENERATION = {"jieba": "jieba", "nltk": "nltk", "rouge_chinese": "rouge-chinese"}
_QUANTIZERS = {"bnb": "bitsandbytes", "hqq": "hqq", "eetq": "eetq"}
_MODEL_QUANTIZERS = {"gptq": "gptqmodel", "awq": "awq", "aqlm": "aqlm"}
_OPTIMIZER_MODULES = (
    # part of the name of `optim`, module (transformers/trainer_optimizer.py)
    ("galore_", "galore_torch"),
    ("apollo_", "apollo_torch"),
    ("adamw_apex_fused", "apex"),
    ("adamw_torch_xla", "torch_xla"),
    ("adamw_torch_npu_fused", "torch_npu"),
    ("adamw_anyprecision", "torchdistx"),
    ("lomo", "lomo_optim"),
    ("grokadamw", "grokadamw"),
    ("adamw_torch_4bit", "torchao"),
    ("adamw_torch_8bit", "torchao"),
    ("schedule_free", "schedulefree"),
    ("stable_adamw", "optimi"),
    ("bnb", "bitsandbytes"),
    ("paged", "bitsandbytes"),
    ("adamw_8bit", "bitsandbytes"),
    ("lion", "bitsandbytes"),
    ("ademamix", "bitsandbytes"),
)
_LOGGER_MODULES = {
    **{
        name: name
        for name in ("clearml", "codecarbon", "comet_ml", "dagshub", "dvclive", "mlflow", "neptune")
    },
    **{name: name for name in ("swanlab", "tensorboard", "trackio", "wandb")},
    "azure_ml": "azureml",
    "flyte": "flytekit",
}


def _missing_generation(view: View) -> str:
    if not view["predict_with_generate"]:
        return ""
    return " ".join(name for module, name in _GENERATION.items() if view.lacks(module))


def _missing_quantizer(view: View) -> str:
    if view.model_quantization is not None:
        module = _MODEL_QUANTIZERS.get(view.model_quantization, "")
    elif view["quantization_bit"] is not None:
        module = _QUANTIZERS.get(view["quantization_method"], "")
    else:
        return ""
    return module if module and view.lacks(module) else ""


def _missing_optimizer(view: View) -> str:
    if view.stack is None or view["use_galore"] or view["use_apollo"]:
        return ""
    module = next((module for part, module in _OPTIMIZER_MODULES if part in view["optim"]), "")
    return module if module and view.lacks(module) else ""


def _missing_loggers(view: View) -> str:
    if view.stack is None:
        return ""
    modules = (_LOGGER_MODULES.get(name, "") for name in view.loggers)
    return " ".join(module for module in modules if module and view.lacks(module))


def _new_trl(view: View) -> str:
    """The installed trl where it is too new for stage ppo."""
    if view["stage"] != "ppo" or view.stack is None:
        return ""
    version = view.stack.version("trl") or ""
    numbers = [int(part) for part in version.split(".")[:3] if part.isdigit()]
    return version if numbers > [0, 9, 6] else ""


RULES = (
    *(
        Rule(
            f"{argument.replace('_', '-')}-is-installed",
            (argument,),
            lambda view, argument=argument, value=value, module=module: (
                view[argument]  # type: ignore[misc]
                and value in (None, view[argument])
                and view.lacks(module)
            ),
            "needs a package that is not installed here",
            f"install it beside LLaMA-Factory: pip install {name}; or take `{argument}` out",
            _DEPENDENCIES,
        )
        for argument, value, module, name in _PACKAGES
    ),
    *(
        Rule(
            f"{argument.replace('_', '-')}-is-installed",
            (argument,),
            lambda view, argument=argument, module=module: view[argument] and view.lacks(module),  # type: ignore[misc]
            "needs a package that is not installed here",
            f"install it beside LLaMA-Factory: pip install {name}; or take `{argument}` out",
            source,
        )
        for argument, module, name, source in _MORE_PACKAGES
    ),
    Rule(
        "generation-metrics-are-installed",
        ("predict_with_generate",),
        _missing_generation,
        "needs packages that are not installed here: {found}",
        "install them beside LLaMA-Factory: pip install {found}; or take `predict_with_generate` out",
        _DEPENDENCIES,
    ),
    Rule(
        "deepspeed-is-installed",
        ("zero.stage",),
        lambda view: bool(view.zero) and view.lacks("deepspeed"),
        "needs DeepSpeed, which is not installed here",
        "install it: pip install 'qtune[train]'",
        _DEPENDENCIES,
    ),
    Rule(
        "quantizer-is-installed",
        ("quantization_bit", "quantization_method", "model_name_or_path"),
        _missing_quantizer,
        "needs `{found}`, which is not installed here",
        "install it beside LLaMA-Factory, for its torch",
        "llamafactory/model/model_utils/quantization.py, configure_quantization",
    ),
    Rule(
        "optim-is-installed",
        ("optim",),
        _missing_optimizer,
        "optim {optim} needs `{found}`, which is not installed here",
        "install it beside LLaMA-Factory, or take `optim` out",
        "transformers/trainer_optimizer.py",
    ),
    Rule(
        "loggers-are-installed",
        ("report_to",),
        _missing_loggers,
        "reporting there needs `{found}`, which is not installed here",
        "install it beside LLaMA-Factory: pip install {found}; or set report_to: none",
        "transformers/integrations/integration_utils.py",
    ),
    Rule(
        "ppo-needs-old-trl",
        ("stage",),
        _new_trl,
        "stage ppo was written for trl up to 0.9.6, and {found} is installed here",
        "use stage dpo or kto; for ppo install trl 0.9.6 in an environment of its own, and start with"
        " DISABLE_VERSION_CHECK=1",
        "llamafactory/train/ppo/trainer.py, CustomPPOTrainer.__init__",
    ),
)
