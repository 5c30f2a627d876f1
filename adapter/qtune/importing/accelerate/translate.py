"""accelerate's settings translated: FSDP stays accelerate's, DeepSpeed becomes `zero`, the rest `launch`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qtune.files import dump_yaml
from qtune.importing.deepspeed import zero
from qtune.importing.deepspeed.file import DeepSpeedFile
from qtune.importing.parts import Translation, noted, refused, warned
from qtune.importing.source import LAYER, ImportedFile
from qtune.render.fsdp import KEYS as FSDP_KEYS
from qtune.values import KeyPath, Origin, Value

Settings = Mapping[KeyPath, Value]

_REPLICAS = (
    "NO",
    "MULTI_GPU",
    "MULTI_NPU",
    "MULTI_MLU",
    "MULTI_XPU",
    "MULTI_HPU",
    "MULTI_MUSA",
    "MULTI_SDAA",
)
_UNDER = {"FSDP": "fsdp_config", "DEEPSPEED": "deepspeed_config"}
# What accelerate takes where its file is silent, and qtune's own settings say something else
# (commands/launch.py; utils/dataclasses.py, FullyShardedDataParallelPlugin).
_SILENT: Mapping[int, Mapping[str, Any]] = {
    1: {
        "fsdp_auto_wrap_policy": "NO_WRAP",
        "fsdp_backward_prefetch": "NO_PREFETCH",
        "fsdp_use_orig_params": True,
    },
    2: {"fsdp_auto_wrap_policy": "NO_WRAP", "fsdp_state_dict_type": "SHARDED_STATE_DICT"},
}
_OLDER = {"fsdp_backward_prefetch_policy": "fsdp_backward_prefetch"}
_STAGES = {
    "zero_stage": ("stage",),
    "offload_optimizer_device": ("offload_optimizer", "device"),
    "offload_optimizer_nvme_path": ("offload_optimizer", "nvme_path"),
    "offload_param_device": ("offload_param", "device"),
    "offload_param_nvme_path": ("offload_param", "nvme_path"),
    "zero3_save_16bit_model": ("stage3_gather_16bit_weights_on_model_save",),
}
_BATCH = {"gradient_accumulation_steps": "gradient_accumulation_steps", "gradient_clipping": "max_grad_norm"}
_FP8 = {"TE": "te", "MSAMP": "msamp", "AO": "torchao"}
_COMPILED = {"dynamo_backend": "torch_compile_backend", "dynamo_mode": "torch_compile_mode"}
_NODES = {"main_process_ip": "master_addr", "main_process_port": "master_port"}
# qtune decides these itself, or they change nothing of the training.
_DECIDED = (
    *("compute_environment", "machine_rank", "rdzv_backend", "same_network", "main_training_function"),
    *("debug", "quiet", "q", "enable_cpu_affinity", "num_cpu_threads_per_process", "module", "m"),
    *("no_python", "use_xpu", "tee", "log_dir", "role", "commands", "command_file", "tpu_env", "tpu_vm"),
    *("tpu_name", "tpu_zone", "tpu_use_cluster", "tpu_use_sudo", "tpu_cluster", "no_tpu_cluster"),
    *("downcast_bf16", "zero3_init_flag", "deepspeed_multinode_launcher", "deepspeed_hostfile", "env", "vm"),
    # LLaMA-Factory finds them itself (llamafactory/model/model_utils/moe.py)
    "deepspeed_moe_layer_cls_names",
    *("deepspeed_inclusion_filter", "deepspeed_exclusion_filter", "monitor_interval"),
)
_OWN_PLACE = (
    "num_processes",
    "num_machines",
    "mixed_precision",
    "fp16",
    "distributed_type",
    "gpu_ids",
    "use_cpu",
)


def translate(
    settings: Settings, beside: Mapping[str, Value], source: ImportedFile
) -> tuple[dict[str, Value], Translation]:
    """(LLaMA-Factory's arguments that accelerate decides, what else the settings are).

    beside: the arguments of the training that accelerate starts, which win over its own; none for a file by
    itself. Every setting is a value, a note or a finding.
    """
    kind = settings.get(("distributed_type",), Value("NO", Origin(LAYER, source.display)))
    arguments, part = _precision(settings, beside)
    part += _processes(settings)
    name = str(kind.value).upper()
    if name == "FSDP":
        arguments |= _fsdp(settings, beside, kind.origin)
        part += Translation({("launch", "launcher"): Value("accelerate", kind.origin)})
        part += noted("fsdp_config", "launch.launcher: accelerate, with these settings of FSDP", kind.origin)
        part += _overruled(settings, arguments["fsdp_config"].value)
    elif name == "DEEPSPEED":
        found, one = _deepspeed(settings, beside, source, kind.origin)
        arguments |= found
        part += one
    elif name not in _REPLICAS:
        message = f"{kind.value}: qtune has no such launcher"
        part += warned("distributed_type", message, "choose launch.launcher in the preset", kind.origin)
    compiled, one = _compiled(settings)
    return arguments | compiled, part + one + _others(settings, _UNDER.get(name, ""))


def _plain(settings: Settings, *path: str) -> Any:
    found = settings.get(path)
    return None if found is None else found.value


def _processes(settings: Settings) -> Translation:
    part = Translation()
    nodes = _plain(settings, "num_machines")
    several = isinstance(nodes, int) and nodes > 1
    count = settings.get(("num_processes",))
    if several:
        part += Translation({("launch", "nnodes"): Value(nodes, settings["num_machines",].origin)})
        for theirs, ours in _NODES.items():
            if (given := settings.get((theirs,))) is not None and given.value is not None:
                part += Translation({("launch", ours): given})
    alone = [key for key in ("num_machines", *_NODES) if not several and _plain(settings, key) is not None]
    if alone:
        part += noted(", ".join(alone), "left out: one node needs none", settings[alone[0],].origin)
    if count is not None and isinstance(count.value, int) and count.value > 0:
        each, over = divmod(count.value, nodes if several else 1)
        if over:
            message = f"{count.value} processes on {nodes} nodes: not as many on each"
            part += refused("num_processes", message, "make it a multiple of the nodes", count.origin)
        part += Translation({("launch", "nproc_per_node"): Value(each, count.origin)})
        part += noted(
            "num_processes", f"launch.nproc_per_node: {each} (num_processes of accelerate)", count.origin
        )
    devices = settings.get(("gpu_ids",))
    if devices is not None and devices.value not in (None, "all"):
        message = (
            f"{devices.value} is no part of a preset: set CUDA_VISIBLE_DEVICES where you start `qtune train`"
        )
        part += noted("gpu_ids", message, devices.origin)
    return part


def _precision(settings: Settings, beside: Mapping[str, Value]) -> tuple[dict[str, Value], Translation]:
    """accelerate's counts where the training has none of its own (transformers/training_args.py)."""
    given = settings.get(("mixed_precision",)) or settings.get(("fp16",))
    cpu = settings.get(("use_cpu",))
    arguments = {"use_cpu": cpu} if cpu is not None and cpu.value is True and "use_cpu" not in beside else {}
    if given is None or given.value in (None, "no", False):
        return arguments, Translation()
    name = "fp16" if given.value is True else str(given.value)
    own = [key for key in ("bf16", "fp16", "pure_bf16") if key in beside and beside[key].value is True]
    if own:
        agrees = name in own or own == ["pure_bf16"]
        message = f"left out: {own[0]} of the training {'says it' if agrees else 'wins'}"
        return arguments, noted("mixed_precision", message, given.origin)
    part = noted("mixed_precision", f"`{name}: true`, as accelerate computes", given.origin)
    arguments[name] = Value(True, given.origin)
    if name == "fp16":  # base's auto may decide for both
        arguments["bf16"] = Value(False, given.origin)
    backend = settings.get(("fp8_config", "fp8_backend")) or settings.get(("fp8_config", "backend"))
    if name == "fp8" and backend is not None and str(backend.value).upper() in _FP8:
        arguments["fp8_backend"] = Value(_FP8[str(backend.value).upper()], backend.origin)
    return arguments, part


def _fsdp(settings: Settings, beside: Mapping[str, Value], origin: Origin) -> dict[str, Value]:
    """The settings verbatim, with what accelerate takes where they are silent and qtune would not."""
    given = {
        _OLDER.get(path[1], path[1]): value.value
        for path, value in settings.items()
        if path[0] == "fsdp_config" and len(path) == 2 and value.value is not None
    }
    said = {key: value for key, value in given.items() if key in FSDP_KEYS}
    said["fsdp_version"] = version = 2 if str(said.get("fsdp_version", 1)) == "2" else 1
    said = {"fsdp_version": version, **_SILENT[version], **said}
    own = beside.get("fsdp_config")
    if own is not None and isinstance(own.value, dict):
        said |= own.value
    return {"fsdp_config": Value(said, origin)}


def _overruled(settings: Settings, said: Mapping[str, Any]) -> Translation:
    """A warning of what accelerate does not do with FSDP 1: see findings/accelerate_fsdp1_reshard.sh."""
    key = "fsdp_reshard_after_forward"
    given = settings.get(("fsdp_config", key))
    strategy = said.get("fsdp_sharding_strategy", "FULL_SHARD")
    if given is None or said["fsdp_version"] != 1 or given.value in (strategy, True):
        return Translation()
    message = f"{dump_yaml(given.value)} has no effect with FSDP 1: accelerate shards as {strategy}"
    return warned(key, message, "write it as fsdp_sharding_strategy, if it is meant", given.origin)


def _deepspeed(
    settings: Settings, beside: Mapping[str, Value], source: ImportedFile, origin: Origin
) -> tuple[dict[str, Value], Translation]:
    """The file that is named, or the JSON that accelerate makes (utils/dataclasses.py, DeepSpeedPlugin)."""
    named = settings.get(("deepspeed_config", "deepspeed_config_file"))
    if "deepspeed" in beside:
        return {}, noted("deepspeed_config", "left out: `deepspeed` of the training wins", origin)
    part = Translation()
    for theirs, ours in _BATCH.items():
        found = settings.get(("deepspeed_config", theirs))
        if found is not None:
            message = f"left out: it has to be the training's {ours}, or `auto`"
            part += noted(theirs, message, found.origin)
    if named is not None and named.value not in (None, "none"):
        return {"deepspeed": named}, part
    block: dict[str, Any] = {"stage": 2}
    lines: dict[KeyPath, int] = {}
    for theirs, path in _STAGES.items():
        found = settings.get(("deepspeed_config", theirs))
        if found is None or found.value in (None, "none"):
            continue
        inner = block
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = found.value
        if found.origin.line:
            lines["zero_optimization", *path] = found.origin.line
    file = DeepSpeedFile({"zero_optimization": block}, lines, source.display)
    return {}, part + zero.translate(file, Translation(), whole=False)


def _compiled(settings: Settings) -> tuple[dict[str, Value], Translation]:
    """transformers says the same as arguments, and hands them to accelerate (training_args.py)."""
    backend = settings.get(("dynamo_config", "dynamo_backend"))
    if backend is None or str(backend.value).upper() == "NO":
        return {}, Translation()
    arguments = {"torch_compile": Value(True, backend.origin)}
    for theirs, ours in _COMPILED.items():
        found = settings.get(("dynamo_config", theirs))
        if found is not None and found.value is not None:
            arguments[ours] = Value(str(found.value).lower(), found.origin)
    return arguments, noted("dynamo_config", "`torch_compile: true` in LLaMA-Factory", backend.origin)


def _others(settings: Settings, block: str) -> Translation:
    """What is left: one note for all that changes nothing, a warning for each of the others or its block."""
    needless: list[tuple[str, Origin]] = []
    unknown: dict[str, list[tuple[str, Value]]] = {}
    for path, value in settings.items():
        if _read(path, block):
            continue
        off = value.value in (None, False, [], {}, "no", "NO", 1)
        if off or path[-1] in _DECIDED or _of_another(path, block):
            needless.append((path[-1], value.origin))
        else:
            unknown.setdefault(path[0], []).append((path[-1], value))
    part = Translation()
    for name, found in unknown.items():
        said = ", ".join(f"{key}: {dump_yaml(value.value)}" for key, value in found)
        message = f"qtune has no counterpart of accelerate's {said}"
        part += warned(name, message, "add to the preset what the training needs of it", found[0][1].origin)
    return part + _needless(needless)


def _read(path: KeyPath, block: str) -> bool:
    """Whether one of the functions above has read the setting."""
    if len(path) == 1:
        return path[0] in (*_OWN_PLACE, *_NODES)
    inside = {
        "fsdp_config": {*FSDP_KEYS, *_OLDER},
        "deepspeed_config": {*_STAGES, *_BATCH, "deepspeed_config_file"},
        "dynamo_config": set(_COMPILED),
        "fp8_config": {"fp8_backend", "backend"},
    }
    return path[1] in inside.get(path[0], ()) and (path[0] == block or path[0] not in _UNDER.values())


def _of_another(path: KeyPath, block: str) -> bool:
    """Whether the setting belongs to another kind of training than the one that is set."""
    return path[0] in _UNDER.values() and path[0] != block


def _needless(found: Iterable[tuple[str, Origin]]) -> Translation:
    keys = list(found)
    if not keys:
        return Translation()
    return noted(", ".join(key for key, _ in keys), "left out: qtune needs none of it", keys[0][1])
