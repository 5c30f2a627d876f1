"""Rendering a config with its templates to the files of a rendered directory: values in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.errors import QtuneError
from qtune.files import from_json, parse_yaml
from qtune.machine.allocator import GROWING, NAMES
from qtune.machine.hardware import Hardware
from qtune.render import fsdp
from qtune.render.engine import engine_keys
from qtune.render.templates import Templates
from qtune.schema import arguments
from qtune.secrets.text import spans
from qtune.values import (
    ACCELERATE,
    DATASETS,
    JOB,
    LAUNCH,
    TRAIN,
    ZERO,
    Config,
    LaunchPlan,
    Origin,
    RenderedFile,
    Value,
)

SECTIONS = ("model", "method", "dataset", "output", "train", "eval")
_SECTION_OF_GROUP = {
    "model": "model",
    "finetuning": "method",
    "data": "dataset",
    "training": "train",
    "generating": "eval",
}
# What a reader wants to see first in its section.
_FIRST = ("model_name_or_path", "stage", "dataset", "output_dir", "eval_dataset")
# Arguments that people look for in another section than their dataclass would give.
_SECTION_OF_ARGUMENT = {"do_train": "method", "eval_dataset": "eval", "val_size": "eval"}
_PREFIXES = {
    "output": (
        *("output_", "overwrite_output_", "logging_", "save_", "plot_", "report_to", "run_name"),
        "include_",
    ),
    "eval": (
        *("eval_", "do_eval", "per_device_eval_", "load_best_", "metric_for_best_"),
        *("greater_is_better", "do_predict", "predict_"),
    ),
}
"""The beginnings of the names of a section's arguments, where their dataclass would give another one."""


@dataclass(frozen=True)
class Section:
    """One `### title` of train.yaml with its arguments."""

    title: str
    entries: dict[str, Value]


def section_of(argument: str) -> str:
    """The section of train.yaml in which people look for `argument`."""
    if argument in _SECTION_OF_ARGUMENT:
        return _SECTION_OF_ARGUMENT[argument]
    for section, prefixes in _PREFIXES.items():
        if argument.startswith(prefixes):
            return section
    known = arguments().get(argument)
    return _SECTION_OF_GROUP[known.group] if known else "train"


def render(
    config: Config,
    datasets: Mapping[str, Mapping[str, Any]],
    hardware: Hardware,
    plan: LaunchPlan,
    *,
    templates: Templates,
    directory: str,
    output_dir: str,
    about: str = "",
    hub: Mapping[str, str] | None = None,
) -> list[RenderedFile]:
    """The files of one rendered directory, in a fixed order; the same input gives the same bytes.

    datasets: complete dataset_info.json entries by name; directory: the rendered directory and
    output_dir: the directory that a run by hand writes to, both relative to the project's root.
    hub: the project's variables of the hubs, for the launcher by hand.
    Each file is parsed back and compared with the values that went in. ZeRO's and accelerate's hold more than
    those: a template of others may only lay out what the project's own, or qtune's, writes.
    Raises QtuneError where a template fails, drops or changes a value, or writes a secret.
    """
    derived = {"dataset_dir": directory, "output_dir": output_dir}
    if config.uses_zero:
        derived["deepspeed"] = f"{directory}/{ZERO}"
    train = {
        **arguments_of(config),
        **{key: Value(value, Origin("qtune")) for key, value in derived.items()},
    }
    # a CPU shards nothing: accelerate sets its plugin up for GPUs alone
    packed = config.get("train", "quantization_bit") is not None and not hardware.is_cpu
    context: dict[str, Any] = {
        "name": config.name,
        "about": about,
        "hardware": hardware,
        "directory": directory,
        "root_from_here": "/".join(".." for _ in Path(directory).parts),
        "zero": config.block("zero"),
        "deepspeed": engine_keys(config.block("deepspeed"), hardware),
        "datasets": datasets,
        "environment": plan.environment,
        "allocator": (*NAMES, GROWING) if plan.grows else (),
        "hub": hub or {},
        "argv": ("sbatch", f"{directory}/{JOB}") if plan.sbatch else plan.argv,
        "sbatch": plan.sbatch,
        "nnodes": config.nnodes,
        "master_addr": config.get("launch", "master_addr"),
        "master_port": config.get("launch", "master_port"),
        "accelerate": _accelerate_values(config, hardware),
        "packed": packed,
        "fsdp": fsdp.settings(config, packed=packed),
    }
    files = [RenderedFile(TRAIN, render_arguments("train.yaml.j2", train, templates, context))]
    if config.uses_zero:
        files.append(RenderedFile(ZERO, templates.text("zero.json.j2", context)))
        place = templates.place("zero.json.j2")
        written = _json(place, files[-1].text)
        _compare(place, context["zero"], written.get("zero_optimization"))
        theirs = config.block("deepspeed")
        _compare(place, theirs, _kept(theirs, written))
        if templates.is_from_others("zero.json.j2"):
            _compare(place, _json(place, templates.text("zero.json.j2", context, own=True)), written)
    files.append(RenderedFile(DATASETS, templates.text("dataset_info.json.j2", context)))
    place = templates.place("dataset_info.json.j2")
    _compare(place, datasets, _json(place, files[-1].text))
    if ACCELERATE in plan.files:
        files.append(RenderedFile(ACCELERATE, templates.text("accelerate.yaml.j2", context)))
        place = templates.place("accelerate.yaml.j2")
        parsed = parse_yaml(files[-1].text, place)[0]
        said = fsdp.said(config)
        asked = {**context["accelerate"], **({"fsdp_config": said} if said else {})}
        _compare(place, asked, _kept(asked, parsed))
        if templates.is_from_others("accelerate.yaml.j2"):
            ours = templates.text("accelerate.yaml.j2", context, own=True)
            _compare(place, parse_yaml(ours, place)[0], parsed)
    if plan.sbatch:
        files.append(RenderedFile(JOB, templates.text("launch/job.sbatch.j2", context)))
    files.append(RenderedFile(LAUNCH, templates.text("launch/launch.sh.j2", context)))
    for file in files:
        for span in spans(file.text):
            raise QtuneError(
                "would hold a password or token, and rendered files are shared",
                where=f"{directory}/{file.name}:{file.text.count(chr(10), 0, span.start) + 1}",
                fix="take it out of the template: HF_TOKEN or a login answers where it trains",
            )
    return files


def render_arguments(
    template: str, values: Mapping[str, Value], templates: Templates, more: Mapping[str, Any]
) -> str:
    """The text of a YAML of LLaMA-Factory's arguments, each with its origin; parsed back and compared.

    more: what the template has to know beside the arguments, which it gets as `sections`.
    Raises QtuneError where the template fails, or drops or changes a value.
    """
    text = templates.text(template, {**more, "sections": _sections(values)})
    place = templates.place(template)
    _compare(place, {key: value.value for key, value in values.items()}, parse_yaml(text, place)[0])
    return text


def _sections(values: Mapping[str, Value]) -> list[Section]:
    sections = [Section(title, {}) for title in SECTIONS]
    by_title = {section.title: section.entries for section in sections}
    for key in sorted(values, key=lambda key: key not in _FIRST):  # stable: otherwise as the layers have it
        by_title[section_of(key)][key] = values[key]
    return [section for section in sections if section.entries]


def arguments_of(config: Config) -> dict[str, Value]:
    """The arguments with their origins; a mapping argument takes the origin of its first key."""
    values: dict[str, Value] = {}
    for key, value in config.block("train").items():
        origin = config.origin("train", key)
        assert origin is not None
        values[key] = Value(value, origin)
    return values


def _accelerate_values(config: Config, hardware: Hardware) -> dict[str, Any]:
    """What accelerate's own file says of the processes, as train.yaml says it to the trainer."""
    precision = next((name for name in ("bf16", "fp16") if config.get("train", name)), "no")
    values: dict[str, Any] = {
        "num_processes": config.processes,
        "mixed_precision": precision,
        "use_cpu": hardware.is_cpu,
        "num_machines": config.nnodes,
        "machine_rank": 0,  # the command line has each node's own
        # 0 for any free one: two trainings on one machine do not meet
        "main_process_port": config.get("launch", "master_port", default=0),
    }
    if config.nnodes > 1:
        values["main_process_ip"] = config.get("launch", "master_addr")
    return values


def _json(place: str, text: str) -> dict[str, Any]:
    try:
        value = from_json(text)
    except ValueError as error:
        raise QtuneError(
            f"the template makes no JSON: {error}", where=place, fix="mend the template"
        ) from None
    if not isinstance(value, dict):
        raise QtuneError("the template makes no JSON object", where=place, fix="mend the template")
    return value


def _compare(place: str, wanted: Any, rendered: Any) -> None:
    """A template may lay values out; it may not drop, add or retype one."""
    if rendered == wanted and _types(rendered) == _types(wanted):
        return
    changed = ""
    if isinstance(wanted, Mapping) and isinstance(rendered, dict):
        keys = [key for key in (*wanted, *rendered) if wanted.get(key) != rendered.get(key)]
        changed = f" ({', '.join(dict.fromkeys(keys))})" if keys else ""
    raise QtuneError(
        f"the template changes what was to be written{changed}",
        where=place,
        fix="write each value with its filter, to_yaml or to_json, and every one of them",
    )


def _kept(wanted: Any, rendered: Any) -> Any:
    """Of what was rendered the keys of `wanted`, in mappings inside it too."""
    if not isinstance(wanted, Mapping) or not isinstance(rendered, Mapping):
        return rendered
    return {key: _kept(value, rendered[key]) for key, value in wanted.items() if key in rendered}


def _types(value: Any) -> Any:
    """The types of a plain value, in which 1, 1.0 and True differ."""
    if isinstance(value, Mapping):
        return {key: _types(item) for key, item in value.items()}
    return [_types(item) for item in value] if isinstance(value, list) else type(value)
