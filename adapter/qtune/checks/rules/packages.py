"""Rules about packages that a training on this machine needs and does not find."""

from __future__ import annotations

from qtune.checks.rules.view import Rule, View
from qtune.schema import loggers

_DEPENDENCIES = "llamafactory/hparams/parser.py, _check_extra_dependencies"
_TUNER = "llamafactory/train/tuner.py, _training_function"
# Argument, the module that it needs, what installs that, and who looks for it.
_PACKAGES = (
    ("use_galore", "galore_torch", "galore_torch", _DEPENDENCIES),
    ("use_apollo", "apollo_torch", "apollo_torch", _DEPENDENCIES),
    ("use_badam", "badam", "'badam>=1.2.1'", _DEPENDENCIES),
    ("use_adam_mini", "adam_mini", "adam-mini", _DEPENDENCIES),
    ("use_unsloth", "unsloth", "unsloth", _DEPENDENCIES),
    ("enable_liger_kernel", "liger_kernel", "liger-kernel", _DEPENDENCIES),
    ("mixture_of_depths", "MoD", "'mixture-of-depth>=1.1.6'", _DEPENDENCIES),
    ("use_kt", "kt_kernel", "kt-kernel transformers-kt accelerate-kt", _DEPENDENCIES),
    ("use_swanlab", "swanlab", "swanlab", _DEPENDENCIES),
    ("plot_loss", "matplotlib", "matplotlib", _DEPENDENCIES),
    ("use_liger_kernel", "liger_kernel", "liger-kernel", "transformers/trainer.py, Trainer.__init__"),
    ("use_hyper_parallel", "hyper_parallel", "hyper_parallel", _TUNER),
)
_GENERATION = {"jieba": "jieba", "nltk": "nltk", "rouge_chinese": "rouge-chinese"}
_QUANTIZERS = {"bnb": "bitsandbytes", "hqq": "hqq", "eetq": "eetq"}
_MODEL_QUANTIZERS = {"gptq": "gptqmodel", "awq": "awq", "aqlm": "aqlm"}
# Module, and the parts of the name of `optim` that need it (transformers/trainer_optimizer.py).
_OPTIMIZER_MODULES = {
    "galore_torch": ("galore_",),
    "apollo_torch": ("apollo_",),
    "apex": ("adamw_apex_fused",),
    "torch_xla": ("adamw_torch_xla",),
    "torch_npu": ("adamw_torch_npu_fused",),
    "torchdistx": ("adamw_anyprecision",),
    "lomo_optim": ("lomo",),
    "grokadamw": ("grokadamw",),
    "torchao": ("adamw_torch_4bit", "adamw_torch_8bit"),
    "schedulefree": ("schedule_free",),
    "optimi": ("stable_adamw",),
    "bitsandbytes": ("bnb", "paged", "adamw_8bit", "lion", "ademamix"),
}
# The loggers whose module is called otherwise; Kubeflow's has none.
_LOGGER_MODULES = {"azure_ml": "azureml", "flyte": "flytekit", "kubeflow": ""}


def _missing_generation(view: View) -> str:
    if not view["predict_with_generate"]:
        return ""
    return " ".join(name for module, name in _GENERATION.items() if view.lacks(module))


def _missing_quantizer(view: View) -> str:
    if view.stack is None:
        return ""
    if view.model_quantization is not None:
        module = _MODEL_QUANTIZERS.get(view.model_quantization, "")
    elif view["quantization_bit"] is not None:
        module = _QUANTIZERS.get(view["quantization_method"], "")
    else:
        return ""
    return module if module and view.lacks(module) else ""


def _missing_optimizer(view: View) -> str:
    if view["use_galore"] or view["use_apollo"]:
        return ""
    needed = (
        module for module, parts in _OPTIMIZER_MODULES.items() if any(part in view["optim"] for part in parts)
    )
    module = next(needed, "")
    return module if module and view.lacks(module) else ""


def _missing_loggers(view: View) -> str:
    modules = (_LOGGER_MODULES.get(name, name) for name in view.loggers if name in loggers())
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
            lambda view, argument=argument, module=module: view[argument] and view.lacks(module),  # type: ignore[misc]
            "needs a package that is not installed here",
            f"install it beside LLaMA-Factory: pip install {name}; or take `{argument}` out",
            source,
        )
        for argument, module, name, source in _PACKAGES
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
