"""ms-swift's commands, configs and args.json: what its table cannot say in a row."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from qtune.config.project import Project
from qtune.errors import QtuneError
from qtune.files import dump_yaml, from_json, table_beside
from qtune.importing.original import Coverage, Original
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.source import LAYER, ImportedFile
from qtune.importing.toolkits import trainer
from qtune.importing.toolkits.becomes import becomes, becomes_zero
from qtune.importing.toolkits.data import NamedData, registered
from qtune.importing.toolkits.table import Reading, Toolkit, read_toolkit
from qtune.importing.toolkits.translate import translate
from qtune.schema import arguments
from qtune.values import Origin, Value

_TABLE = "ms-swift.yaml"
_OWN = (
    *("tuner_type", "train_type", "rlhf_type", "swift_version"),
    *("split_dataset_ratio", "freeze_vit", "val_dataset"),
)
_TUNERS = ("tuner_type", "train_type", "sft_type")
_STAGES: Mapping[str, Mapping[str, Any]] = {
    "dpo": {"stage": "dpo"},
    "orpo": {"stage": "dpo", "pref_loss": "orpo"},
    "simpo": {"stage": "dpo", "pref_loss": "simpo"},
    "kto": {"stage": "kto"},
    "rm": {"stage": "rm"},
    "ppo": {"stage": "ppo"},
}


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """A config for `swift sft`, or the args.json beside its outputs; None where the file is neither."""
    keys = source.keys or {}
    named = any(isinstance(keys.get(name), str) for name in ("model", "model_id_or_path"))
    if not named or "model_name_or_path" in keys or not any(key in keys for key in _OWN):
        return None
    return read("sft", source.values(), source, project)


def variables() -> list[str]:
    """The variables of the environment that are arguments."""
    return [name for (name,) in ms_swift().rows if name.isupper()]


def read(method: str, keys: Mapping[str, Value], source: ImportedFile, project: Project) -> Original:
    """The keys of `swift METHOD`, as `Original` has them; method: sft, pt or rlhf.

    Raises QtuneError where it trains with a method that LLaMA-Factory does not have.
    """
    toolkit = ms_swift()
    keys, elsewhere = _with_environment(keys, toolkit)
    quiet = [key for key, value in keys.items() if _is_quiet(key, value.value, toolkit, keys)]
    if method == "rlhf" and "rlhf_type" not in keys:
        keys = {"rlhf_type": Value("dpo", Origin(LAYER, source.display)), **keys}
    original = translate(
        toolkit, {key: value for key, value in keys.items() if key not in quiet}, source, project
    )
    stage = "pt" if method == "pt" or _plain(keys, "loss_scale") == "all" else "sft"
    said = {"stage": Value(stage, Origin(LAYER, source.display)), **original.keys}
    part = original.part + elsewhere + _said_nowhere(said, keys, source)
    coverage = original.coverage or Coverage(0, 0, 0)
    if _is_recorded(keys):  # hundreds, of which few were chosen
        message = "left out: ms-swift's defaults, or of that run alone"
        part += noted(f"{len(quiet)} of {len(keys)} keys", message, source.origin())
    elif quiet:
        part += noted(", ".join(quiet), "left out: ms-swift's default", source.origin())
        coverage = replace(coverage, needless=coverage.needless + len(quiet))
    return replace(original, keys=said, part=part, coverage=coverage)


@cache
def ms_swift() -> Toolkit:
    """Its table, and the arguments of transformers that keep their names."""
    toolkit = read_toolkit(
        __file__,
        _TABLE,
        "an ms-swift config",
        _silent,
        model=_model,
        data=_data,
        joined=_joined,
        system=_system,
        loss_scale=_loss_scale,
        targets=_targets,
        init_weights=_init_weights,
        checkpointing=_checkpointing,
        report_to=_report_to,
        generating=_generating,
        task_type=_task_type,
        identity=_identity,
        rlhf_type=_rlhf_type,
        loss_type=_loss_type,
        cpo_alpha=_cpo_alpha,
        pixels=_pixels,
        partition=_partition,
        packing_length=_packing_length,
        processes=_processes,
        fsdp=_fsdp,
    )
    return replace(toolkit, rows={**trainer.rows(), **toolkit.rows})


def _with_environment(keys: Mapping[str, Value], toolkit: Toolkit) -> tuple[Mapping[str, Value], Translation]:
    """(the keys with the variables of the block `ENV` beside them, what to say of the other variables)."""
    block = keys.get("ENV")
    if block is None or not isinstance(block.value, dict):
        return keys, Translation()
    variables = {name: Value(item, block.origin) for name, item in block.value.items()}
    read = {name: value for name, value in variables.items() if (name,) in toolkit.rows}
    part = Translation()
    if rest := [name for name in variables if name not in read]:
        message = "no part of a preset: set it where you start `qtune train`, which passes it on"
        part = noted(f"ENV: {', '.join(rest)}", message, block.origin)
    return {**{key: value for key, value in keys.items() if key != "ENV"}, **read}, part


def _is_quiet(key: str, value: Any, toolkit: Toolkit, keys: Mapping[str, Value]) -> bool:
    """Whether a key says nothing: the default of what has no counterpart, and in args.json any default."""
    row = toolkit.rows.get((key,))
    recorded = _is_recorded(keys)
    if recorded and (value in (None, [], {}) or key.startswith("_") or key in _table()["of_the_run"]):
        return True
    known = table_beside(__file__, "ms-swift-defaults.yaml")
    if key in known:
        at_default = known[key] == value and isinstance(known[key], bool) == isinstance(value, bool)
    else:
        at_default = key in arguments() and arguments()[key].default == value
    return at_default and (recorded or row is None or bool(row.missing))


def _is_recorded(keys: Mapping[str, Value]) -> bool:
    """Whether they are an args.json, which has all of them."""
    return "swift_version" in keys


def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = table_beside(__file__, _TABLE)
    return table


def _plain(keys: Mapping[str, Value], name: str) -> Any:
    return keys[name].value if name in keys else None


def _said_nowhere(said: Mapping[str, Value], keys: Mapping[str, Value], source: ImportedFile) -> Translation:
    """What ms-swift does where the original is silent, and a preset cannot say."""
    part = Translation()
    if "cutoff_len" not in said:
        message = "is not set: ms-swift then takes the model's own maximum, the preset base's cutoff_len"
        part += warned("max_length", message, "set cutoff_len in the preset", source.origin())
    explicit = "truncation_strategy" in keys and not _is_recorded(keys)
    if not explicit and _plain(keys, "truncation_strategy") in (None, "delete"):
        message = "ms-swift leaves out what is longer than max_length; LLaMA-Factory cuts it"
        part += noted("truncation_strategy", message, source.origin())
    return part


def _silent(reading: Reading) -> dict[str, Any]:
    """Source: swift/arguments/sft_args.py and rlhf_args.py, swift/trainers/arguments.py (__post_init__)."""
    tuner = next((reading.plain(key) for key in _TUNERS if reading.plain(key)), "lora")
    held: dict[str, Any] = {"learning_rate": 1e-5 if tuner == "full" else 1e-4}
    if tuner != "full":
        held |= {"finetuning_type": "lora", "lora_rank": 8, "lora_alpha": 32, "lora_dropout": 0.05}
        held |= {"lora_target": "all"}
    batch = reading.plain("per_device_train_batch_size", 1)
    if isinstance(batch, int) and batch > 0:
        held["gradient_accumulation_steps"] = math.ceil(16 / batch / _world_size(reading))
    if not reading.plain("warmup_ratio"):
        held["warmup_steps"] = 0
    if _method(reading) == "simpo":
        held |= {"pref_beta": 2.0, "simpo_gamma": 1.0, "pref_ftx": 1.0}
    return held


def _world_size(reading: Reading) -> int:
    """How many processes train, as far as the original says it."""
    for key in ("global_world_size", "NPROC_PER_NODE"):
        if isinstance(found := reading.plain(key), int) and found > 0:
            return found
    return 1


def _method(reading: Reading) -> str:
    """The preference method: SimPO is written to args.json as cpo with its loss."""
    method = str(reading.plain("rlhf_type", ""))
    return "simpo" if method == "cpo" and reading.plain("loss_type") in ("simpo", ["simpo"]) else method


def _rlhf_type(key: str, value: Value, reading: Reading) -> Translation:
    method = _method(reading)
    if method not in _STAGES:
        raise QtuneError(
            f"trains with `{method}`, which LLaMA-Factory does not have",
            where=value.origin.place,
            fix=f"keep ms-swift for it; LLaMA-Factory has {', '.join(_STAGES)}",
        )
    return becomes(key, _STAGES[method], value.origin)


def _task_type(key: str, value: Value, reading: Reading) -> Translation:
    # a reward model is a classifier with one class to it
    if value.value in ("causal_lm", None) or reading.plain("rlhf_type") == "rm":
        return becomes(key, {}, value.origin)
    raise QtuneError(
        f"trains a model of the kind `{value.value}`, which LLaMA-Factory does not have",
        where=value.origin.place,
        fix="keep ms-swift for it; LLaMA-Factory trains models that write, and reward models",
    )


def _loss_type(key: str, value: Value, reading: Reading) -> Translation:
    losses = value.value if isinstance(value.value, list) else [value.value]
    if _method(reading) == "simpo" or losses == ["kto"]:
        return noted(key, "left out: the method says it", value.origin)
    if len(losses) == 1 and losses[0] in ("sigmoid", "hinge", "ipo"):
        return becomes(key, {"pref_loss": losses[0]}, value.origin)
    message = f"LLaMA-Factory has no loss {dump_yaml(value.value)}"
    return warned(key, message, "set pref_loss in the preset: sigmoid, hinge or ipo", value.origin)


def _cpo_alpha(key: str, value: Value, reading: Reading) -> Translation:
    if _method(reading) == "simpo":
        return becomes(key, {"pref_ftx": value.value}, value.origin)
    return noted(key, "left out: it counts in CPO and SimPO alone", value.origin)


def _model(key: str, value: Value, reading: Reading) -> Translation:
    name = str(value.value)
    part = becomes(key, {"model_name_or_path": name}, value.origin)
    if _from_hugging_face(reading) or reading.source.find(name) or name.startswith((".", "/", "~")):
        return part
    if reading.project.hub.get("USE_MODELSCOPE_HUB") == "1":
        return part
    message = f"ms-swift takes {name} from ModelScope, this project from Hugging Face"
    if name.partition("/")[0] in _table()["modelscope_owners"]:
        fix = "add `hub: {name: modelscope}` to qtune.yaml, or name the model as Hugging Face does"
        return part + warned(key, f"{message}, which has no such owner", fix, value.origin)
    return part + noted(key, f"{message}; `hub: {{name: modelscope}}` in qtune.yaml changes it", value.origin)


def _from_hugging_face(reading: Reading) -> bool:
    return any(str(reading.plain(key, "")).lower() in ("true", "1") for key in ("use_hf", "USE_HF"))


_DATA = re.compile(
    r"(?:(?P<hub>hf|ms)::)?(?P<name>[^#]*?)(?::(?P<subsets>[^:#]*))?(?:#(?P<rows>\d+))?", re.IGNORECASE
)


def _data(key: str, value: Value, reading: Reading) -> Translation:
    """`hub::name:subset/subset#rows`, any part but the name left out (swift/dataset/dataset_syntax.py)."""
    given = value.value if isinstance(value.value, list) else [value.value]
    sets = [data for text in given for data in _named(str(text), value.origin, reading)]
    target = "eval_dataset" if key == "val_dataset" else "dataset"
    return registered(key, sets, reading, target)


def _named(text: str, origin: Origin, reading: Reading) -> list[NamedData]:
    match = _DATA.fullmatch(text)
    if match is None or reading.source.find(text):
        return [NamedData(text, origin, _told(text, reading))]
    hugging_face = match["hub"].lower() == "hf" if match["hub"] else _from_hugging_face(reading)
    told = _told(match["name"], reading)
    if match["rows"]:
        told["num_samples"] = int(match["rows"])
    subsets = [subset.strip() for subset in (match["subsets"] or "").split("/")]
    return [
        NamedData(
            match["name"].strip(),
            origin,
            {**told, "subset": subset} if subset not in ("", "default", "all") else told,
            "hf_hub_url" if hugging_face else "ms_hub_url",
        )
        for subset in subsets
    ]


def _told(name: str, reading: Reading) -> dict[str, Any]:
    """What is known of the rows: `columns`, their names by ms-swift's, and its own usual sets."""
    columns = _mapping(reading.plain("columns"))
    words = _table()["columns"]
    told = {words[theirs]: ours for ours, theirs in columns.items() if theirs in words}
    if told:
        return {"formatting": "sharegpt" if "messages" in told else "alpaca", "columns": told}
    return dict(_table()["known_data"].get(name.rpartition("/")[2], {}))


def _identity(key: str, value: Value, reading: Reading) -> Translation:
    """The name or the author that ms-swift writes into its data; one warning for both."""
    if key == "model_author" and reading.plain("model_name"):
        return noted(key, "left out, as model_name", value.origin)
    fix = "write the names into a copy of the data, in place of {{NAME}} and {{AUTHOR}}"
    return warned(key, "LLaMA-Factory does not put names into data", fix, value.origin)


def _mapping(value: Any) -> Mapping[str, Any]:
    """A mapping, also as JSON text; empty where it is neither."""
    if isinstance(value, str):
        try:
            value = from_json(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _joined(key: str, value: Value, reading: Reading) -> Translation:
    """A list that LLaMA-Factory takes with commas."""
    given = value.value if isinstance(value.value, list) else [value.value]
    if not given:
        return noted(key, "left out: it is empty", value.origin)
    text = ",".join(str(item) for item in given)
    return becomes(key, {_table()["joined"][key]: text}, value.origin)


def _system(key: str, value: Value, reading: Reading) -> Translation:
    text = str(value.value)
    if text.endswith(".txt"):
        fix = "write its text into the preset as default_system"
        return warned(key, f"the system prompt is in the file {text}", fix, value.origin)
    return becomes(key, {"default_system": text.replace("\\n", "\n")}, value.origin)


def _loss_scale(key: str, value: Value, reading: Reading) -> Translation:
    """A base strategy and others after it; sources: swift/loss_scale, llamafactory/hparams/data_args.py."""
    names = str(value.value).split("+")
    said: dict[str, Any] = {}
    if not reading.plain("rlhf_type"):
        said = {"last_round": {"mask_history": True}, "all": {"train_on_prompt": True}}.get(names[0], {})
    others = [name for name in names if name not in ("default", "last_round", "all", "ignore_empty_think")]
    part = becomes(key, said, value.origin)
    if others:
        message = f"LLaMA-Factory gives every token of an answer the same weight, not {', '.join(others)}"
        part += warned(key, message, "leave it out, or keep ms-swift for it", value.origin)
    return part


def _targets(key: str, value: Value, reading: Reading) -> Translation:
    given = value.value if isinstance(value.value, list) else str(value.value).split(",")
    names = ["all" if str(name) in ("all-linear", "ALL", "DEFAULT") else str(name) for name in given]
    if not all(re.fullmatch(r"[\w.]+", name) for name in names):
        message = f"lora_target takes names of modules, not {dump_yaml(value.value)}"
        return warned(key, message, "name them in lora_target", value.origin)
    return becomes(key, {"lora_target": ",".join(names)}, value.origin)


def _init_weights(key: str, value: Value, reading: Reading) -> Translation:
    match = re.fullmatch(r"pissa(?:_niter_(\d+))?", str(value.value))
    if match:
        iterations = {"pissa_iter": int(match[1])} if match[1] else {"pissa_iter": -1}
        return becomes(key, {"pissa_init": True, **iterations}, value.origin)
    if str(value.value).lower() == "true":
        return becomes(key, {}, value.origin)
    message = f"LLaMA-Factory has no such start of LoRA's weights: {dump_yaml(value.value)}"
    return warned(key, message, "leave it out, or take pissa_init", value.origin)


def _checkpointing(key: str, value: Value, reading: Reading) -> Translation:
    settings = dict(_mapping(value.value))
    reentrant = settings.pop("use_reentrant", None)
    part = becomes(key, {} if reentrant is None else {"use_reentrant_gc": reentrant}, value.origin)
    if settings or not _mapping(value.value):
        message = f"LLaMA-Factory takes use_reentrant alone, not {dump_yaml(settings or value.value)}"
        part += warned(key, message, "leave it out", value.origin)
    return part


def _report_to(key: str, value: Value, reading: Reading) -> Translation:
    given = value.value if isinstance(value.value, list) else [value.value]
    others = [name for name in given if name != "swanlab"]
    said = {"use_swanlab": True} if "swanlab" in given else {}
    return becomes(key, {**said, "report_to": ",".join(others) or "none"}, value.origin)


def _generating(key: str, value: Value, reading: Reading) -> Translation:
    if reading.plain("rlhf_type") != "ppo":
        return noted(key, "left out: it counts when answers are generated", value.origin)
    name = "max_new_tokens" if key in ("max_completion_length", "response_length") else key
    return becomes(key, {name: value.value}, value.origin)


def _pixels(key: str, value: Value, reading: Reading) -> Translation:
    """Tokens of a picture as pixels: a token is 2 by 2 patches, of 16 pixels in Qwen3-VL, 14 before it.

    Source: qwen_vl_utils/vision_process.py, SPATIAL_MERGE_SIZE and image_patch_size.
    """
    if not isinstance(value.value, int):
        return warned(key, f"{dump_yaml(value.value)} is no number", "correct it", value.origin)
    side = 2 * (16 if "qwen3" in str(reading.plain("model", "")).lower() else 14)
    name = key.lower().replace("token_num", "pixels")
    return becomes(key, {name: value.value * side**2}, value.origin)


def _partition(key: str, value: Value, reading: Reading) -> Translation:
    return becomes_zero(key, (key,), value)


def _packing_length(key: str, value: Value, reading: Reading) -> Translation:
    if value.value == reading.plain("max_length"):
        return noted(key, "left out: it is max_length", value.origin)
    message = f"is {dump_yaml(value.value)}, but LLaMA-Factory packs up to cutoff_len"
    return warned(key, message, "set cutoff_len to it", value.origin)


def _processes(key: str, value: Value, reading: Reading) -> Translation:
    """Of one node, and how many nodes there were."""
    here, all_nodes = value.value, reading.plain("global_world_size", value.value)
    if not isinstance(here, int) or here < 1:
        return noted(key, "left out: one process", value.origin)
    part = Translation({("launch", "nproc_per_node"): Value(here, value.origin)})
    if isinstance(all_nodes, int) and all_nodes > here:
        part += Translation({("launch", "nnodes"): Value(all_nodes // here, value.origin)})
    return part + noted(key, f"launch.nproc_per_node: {here}", value.origin)


def _fsdp(key: str, value: Value, reading: Reading) -> Translation:
    if not value.value:
        return noted(key, "left out: FSDP is off", value.origin)
    part = Translation({("launch", "launcher"): Value("accelerate", value.origin)})
    return part + noted(key, "launch.launcher: accelerate, whose FSDP config qtune writes", value.origin)
