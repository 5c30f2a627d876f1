"""ms-swift's commands, configs and args.json: what they train, and what holds where they are silent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from qtune.config.project import Project
from qtune.files import table_beside
from qtune.importing.original import Coverage, Original
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.source import LAYER, ImportedFile
from qtune.importing.toolkits import trainer
from qtune.importing.toolkits.ms_swift_data import words
from qtune.importing.toolkits.ms_swift_keys import READERS
from qtune.importing.toolkits.ms_swift_methods import method as method_of
from qtune.importing.toolkits.table import Reading, Toolkit, read_toolkit
from qtune.importing.toolkits.translate import translate
from qtune.schema import arguments
from qtune.values import Origin, Value

_OWN = (
    *("tuner_type", "train_type", "rlhf_type", "swift_version"),
    *("split_dataset_ratio", "freeze_vit", "val_dataset"),
)
_TUNERS = ("tuner_type", "train_type", "sft_type")


def recognise(source: ImportedFile, project: Project) -> Original | None:
    """A config for `swift sft`, or the args.json beside its outputs; None where the file is neither."""
    keys = source.keys or {}
    named = any(isinstance(keys.get(name), str) for name in ("model", "model_id_or_path"))
    if not named or "model_name_or_path" in keys or not any(key in keys for key in _OWN):
        return None
    return read("sft", source.values(), source, project)


def variables() -> list[str]:
    """The variables of the environment that are arguments."""
    return [path[0] for path in ms_swift().rows if path[0].isupper()]


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
    said = {**_stage(method, keys, source), **original.keys}
    mixed = said.pop("neat_packing", None) if said["stage"].value != "sft" else None
    if said["stage"].value == "pt" and "packing" not in said:
        said["packing"] = Value(False, said["stage"].origin)  # LLaMA-Factory packs where nothing is said
    part = original.part + elsewhere + _said_nowhere(said, keys, source)
    if mixed:  # llamafactory/hparams/parser.py
        message = "not in the preset: LLaMA-Factory keeps packed rows apart with stage sft alone"
        part += noted("neat_packing", message, mixed.origin)
    coverage = original.coverage or Coverage(0, 0, 0)
    if _is_recorded(keys):  # hundreds, of which few were chosen
        message = "left out: ms-swift's defaults, or of that run alone"
        part += noted(f"{len(quiet)} of {len(keys)} keys", message, source.origin())
    elif quiet:
        part += noted(", ".join(quiet), "left out: ms-swift's default", source.origin())
        coverage = replace(coverage, needless=coverage.needless + len(quiet))
    return replace(original, keys=said, part=part, coverage=coverage)


def _stage(method: str, keys: Mapping[str, Value], source: ImportedFile) -> dict[str, Value]:
    """sft or pt, of which args.json says nothing but the defaults of `swift pt`."""
    recorded = _is_recorded(keys) and _plain(keys, "use_chat_template") is False
    pretrains = method == "pt" or (recorded and str(_plain(keys, "loss_scale")).startswith("all"))
    return {"stage": Value("pt" if pretrains else "sft", Origin(LAYER, source.display))}


@cache
def ms_swift() -> Toolkit:
    """Its table, and the arguments of transformers that keep their names."""
    toolkit = read_toolkit(__file__, "ms-swift.yaml", "an ms-swift config", _silent, **READERS)
    return replace(toolkit, rows={**trainer.rows(), **toolkit.rows})


def _with_environment(keys: Mapping[str, Value], toolkit: Toolkit) -> tuple[Mapping[str, Value], Translation]:
    """(the keys with the variables of the block `ENV` beside them, what to say of the other variables)."""
    block = keys.get("ENV")
    if block is None or not isinstance(block.value, dict):
        return keys, Translation()
    variables = {name: Value(item, block.origin) for name, item in block.value.items()}
    read = {name: value for name, value in variables.items() if (name,) in toolkit.rows}
    message = "its variables are arguments too"
    if rest := [name for name in variables if name not in read]:
        message = f"set {', '.join(rest)} where you start `qtune train`, which passes them on"
    part = noted("ENV", message, block.origin)
    return {**{key: value for key, value in keys.items() if key != "ENV"}, **read}, part


def _is_quiet(key: str, value: Any, toolkit: Toolkit, keys: Mapping[str, Value]) -> bool:
    """Whether a key says nothing: the default of what has no counterpart, and in args.json any default."""
    row = toolkit.rows.get((key,))
    recorded = _is_recorded(keys)
    if recorded and (value in (None, [], {}) or key.startswith("_") or key in words()["of_the_run"]):
        return True
    known = _defaults()
    if key in known:
        at_default = known[key] == value and isinstance(known[key], bool) == isinstance(value, bool)
    else:
        at_default = key in arguments() and arguments()[key].default == value
    return at_default and (recorded or row is None or bool(row.missing))


def _defaults() -> Mapping[str, Any]:
    """What ms-swift takes where a key is silent."""
    found: Mapping[str, Any] = table_beside(__file__, "ms-swift-defaults.yaml")
    return found


def _is_recorded(keys: Mapping[str, Value]) -> bool:
    """Whether they are an args.json, which has all of them."""
    return "swift_version" in keys


def _plain(keys: Mapping[str, Value], name: str) -> Any:
    return keys[name].value if name in keys else None


def _said_nowhere(said: Mapping[str, Value], keys: Mapping[str, Value], source: ImportedFile) -> Translation:
    """What ms-swift does where the original is silent, and a preset cannot say."""
    part = Translation()
    if "cutoff_len" not in said:
        message = "is not set: ms-swift then takes the model's own maximum, the preset base's cutoff_len"
        part += warned("max_length", message, "set cutoff_len in the preset", source.origin())
    if "gradient_accumulation_steps" not in keys:
        message = "as many steps as make 16 rows on the processes that the original names, as ms-swift does"
        part += noted("gradient_accumulation_steps", message, source.origin())
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
    if method_of(reading) == "simpo":
        held |= {"pref_beta": 2.0, "simpo_gamma": 1.0, "pref_ftx": 1.0}
    return held


def _world_size(reading: Reading) -> int:
    """How many processes train, as far as the original says it."""
    for key in ("global_world_size", "NPROC_PER_NODE"):
        if isinstance(found := reading.plain(key), int) and found > 0:
            return found
    return 1
