"""accelerate's settings by where they stand in its file; its command line says the same in flags.

Source: accelerate/commands/launch.py, launch_command_parser and _validate_launch_command;
commands/config/config_args.py, ClusterConfig.
"""

from __future__ import annotations

from collections.abc import Mapping

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.importing.accelerate.translate import translate
from qtune.importing.original import Original
from qtune.importing.source import ImportedFile
from qtune.values import KeyPath, Value

BARE = (
    *("use_fsdp", "use_deepspeed", "use_megatron_lm", "use_parallelism_config", "use_xpu"),
    *("multi_gpu", "cpu", "tpu", "debug", "quiet", "q", "module", "m", "no_python", "same_network"),
    *("enable_cpu_affinity", "downcast_bf16", "tpu_use_sudo", "tpu_cluster", "no_tpu_cluster"),
    *("dynamo_use_fullgraph", "dynamo_use_dynamic", "dynamo_use_regional_compilation"),
)
"""Flags of `accelerate launch` that take no value."""

_TYPES = {
    "use_fsdp": "FSDP",
    "use_deepspeed": "DEEPSPEED",
    "use_megatron_lm": "MEGATRON_LM",
    "multi_gpu": "MULTI_GPU",
    "tpu": "XLA",
}
_BLOCKS = {
    "fsdp_": "fsdp_config",
    "dynamo_": "dynamo_config",
    "fp8_": "fp8_config",
    "megatron_lm_": "megatron_lm_config",
    "parallelism_config_": "parallelism_config",
    "mpirun_": "mpirun_config",
    "deepspeed_": "deepspeed_config",
    "zero": "deepspeed_config",
    "offload_": "deepspeed_config",
    "gradient_": "deepspeed_config",
}
_SIGNS = ("distributed_type", "compute_environment")


def of_flags(flags: Mapping[str, Value]) -> dict[KeyPath, Value]:
    """The settings of a command line; flags by their names with underscores, a bare one as true."""
    settings: dict[KeyPath, Value] = {}
    for name, value in flags.items():
        block = next((block for prefix, block in _BLOCKS.items() if name.startswith(prefix)), None)
        if name in _TYPES:
            settings["distributed_type",] = Value(_TYPES[name], value.origin)
        elif block is not None:
            settings[block, name] = value
        else:
            settings["use_cpu" if name == "cpu" else name,] = value
    return settings


def of_file(source: ImportedFile) -> dict[KeyPath, Value]:
    """The settings of a file; raises QtuneError for what is no mapping, or of Amazon's."""
    settings: dict[KeyPath, Value] = {}
    for key, value in (source.keys or {}).items():
        if isinstance(value, dict):
            for inner, item in value.items():
                prefixed = inner.startswith("fsdp") or key != "fsdp_config"
                name = inner if prefixed else f"fsdp_{inner}"
                settings[key, name] = Value(item, source.origin(key, inner))
        else:
            settings[key,] = Value(value, source.origin(key))
    if not settings:
        raise QtuneError("is no config of accelerate", where=source.display, fix="correct that file")
    where = settings.get(("compute_environment",))
    if where is not None and where.value == "AMAZON_SAGEMAKER":
        fix = "import the training config that it starts, or the script"
        raise QtuneError(
            "is for Amazon SageMaker, which qtune does not start", where=where.origin.place, fix=fix
        )
    return settings


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """accelerate's own file as the part of a preset that it is, None where the file is none."""
    keys = source.keys or {}
    if not any(key in keys for key in _SIGNS) or "model_name_or_path" in keys:
        return None
    arguments, part = translate(of_file(source), {}, source)
    return Original("an accelerate config", source, arguments, part)
