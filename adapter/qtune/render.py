"""A config and the templates' text to the files of a rendered directory: values in, text out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox

from qtune.errors import QtuneError
from qtune.files import dump_yaml, parse_yaml
from qtune.machine.hardware import Hardware
from qtune.schema import arguments
from qtune.values import (
    DATASETS,
    LAUNCH,
    TRAIN,
    ZERO,
    Config,
    LaunchPlan,
    Origin,
    RenderedFile,
    Value,
)

_SECTIONS = ("model", "method", "dataset", "output", "train", "eval")
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
_SECTION_OF_PREFIX = {
    "output_": "output",
    "overwrite_output_": "output",
    "logging_": "output",
    "save_": "output",
    "plot_": "output",
    "report_to": "output",
    "run_name": "output",
    "include_": "output",
    "eval_": "eval",
    "do_eval": "eval",
    "per_device_eval_": "eval",
    "load_best_": "eval",
    "metric_for_best_": "eval",
    "greater_is_better": "eval",
    "do_predict": "eval",
    "predict_": "eval",
}


@dataclass(frozen=True)
class Section:
    """One `### title` of train.yaml with its arguments."""

    title: str
    entries: dict[str, Value]


def section_of(argument: str) -> str:
    """The section of train.yaml in which people look for `argument`."""
    if argument in _SECTION_OF_ARGUMENT:
        return _SECTION_OF_ARGUMENT[argument]
    for prefix, section in _SECTION_OF_PREFIX.items():
        if argument.startswith(prefix):
            return section
    known = arguments().get(argument)
    return _SECTION_OF_GROUP[known.group] if known else "train"


def render(
    config: Config,
    datasets: Mapping[str, Mapping[str, Any]],
    hardware: Hardware,
    plan: LaunchPlan,
    *,
    templates: Path,
    directory: str,
    output_dir: str,
    about: str = "",
) -> list[RenderedFile]:
    """The files of one rendered directory, in a fixed order; the same input gives the same bytes.

    datasets: complete dataset_info.json entries by name; directory: the rendered directory and
    output_dir: the directory that a run by hand writes to, both relative to the project's root.
    Each file is parsed back and compared with the values that went in.
    Raises QtuneError where a template fails, or drops or changes a value.
    """
    derived = {"dataset_dir": directory, "output_dir": output_dir}
    if config.uses_zero:
        derived["deepspeed"] = f"{directory}/{ZERO}"
    train = {
        **_train_values(config),
        **{key: Value(value, Origin("qtune")) for key, value in derived.items()},
    }
    ordered = sorted(train, key=lambda key: key not in _FIRST)  # stable: otherwise as the layers have it
    sections = [
        Section(title, {key: train[key] for key in ordered if section_of(key) == title})
        for title in _SECTIONS
    ]
    context: dict[str, Any] = {
        "name": config.name,
        "about": about,
        "hardware": hardware,
        "directory": directory,
        "root_from_here": "/".join(".." for _ in Path(directory).parts),
        "sections": [section for section in sections if section.entries],
        "zero": config.block("zero"),
        "datasets": datasets,
        "environment": plan.environment,
        "argv": plan.argv,
    }
    environment = _environment(templates)

    def text_of(template: str) -> str:
        return _text(environment, template, context)

    plain = {key: value.value for key, value in train.items()}
    files = [RenderedFile(TRAIN, text_of("train.yaml.j2"))]
    _compare("train.yaml.j2", plain, parse_yaml(files[-1].text, "templates/train.yaml.j2")[0])
    if config.uses_zero:
        files.append(RenderedFile(ZERO, text_of("zero.json.j2")))
        rendered = _json("zero.json.j2", files[-1].text)
        _compare("zero.json.j2", context["zero"], rendered.get("zero_optimization"))
    files.append(RenderedFile(DATASETS, text_of("dataset_info.json.j2")))
    _compare("dataset_info.json.j2", datasets, _json("dataset_info.json.j2", files[-1].text))
    files.append(RenderedFile(LAUNCH, text_of("launch/launch.sh.j2")))
    return files


def _train_values(config: Config) -> dict[str, Value]:
    """The arguments with their origins; a mapping argument takes the origin of its first key."""
    values: dict[str, Value] = {}
    for key, value in config.block("train").items():
        origin = config.origin("train", key)
        assert origin is not None
        values[key] = Value(value, origin)
    return values


def _environment(templates: Path) -> jinja2.Environment:
    # Templates may come from others: no attribute tricks, no undefined name passing as empty text.
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the files are YAML, JSON and shell; each value goes through a filter of theirs
    )
    environment.filters |= {
        "to_yaml": dump_yaml,
        "to_json": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        "shell_quote": lambda value: shlex.quote(str(value)),
        "one_line": lambda value: " ".join(str(value).split()),
    }
    return environment


def _text(environment: jinja2.Environment, template: str, context: Mapping[str, Any]) -> str:
    try:
        return environment.get_template(template).render(context)
    except jinja2.TemplateSyntaxError as error:
        where = f"templates/{error.name}:{error.lineno}"
        raise QtuneError(f"broken template: {error.message}", where=where, fix="mend that line") from None
    except (jinja2.TemplateError, TypeError, ValueError, OverflowError) as error:
        raise QtuneError(
            f"the template fails: {error}", where=f"templates/{template}", fix="use only what qtune gives it"
        ) from None


def _json(template: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise QtuneError(
            f"the template makes no JSON: {error}", where=f"templates/{template}", fix="mend the template"
        ) from None


def _compare(template: str, wanted: Any, rendered: Any) -> None:
    """A template may lay values out; it may not drop, add or retype one."""
    if rendered == wanted and _types(rendered) == _types(wanted):
        return
    changed = ""
    if isinstance(wanted, Mapping) and isinstance(rendered, dict):
        keys = [key for key in (*wanted, *rendered) if wanted.get(key) != rendered.get(key)]
        changed = f" ({', '.join(dict.fromkeys(keys))})" if keys else ""
    raise QtuneError(
        f"the template changes what was to be written{changed}",
        where=f"templates/{template}",
        fix="write each value with its filter, to_yaml or to_json, and every one of them",
    )


def _types(value: Any) -> Any:
    """The types of a plain value, in which 1, 1.0 and True differ."""
    if isinstance(value, Mapping):
        return {key: _types(item) for key, item in value.items()}
    return [_types(item) for item in value] if isinstance(value, list) else type(value)
