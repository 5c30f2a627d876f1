"""Findings about the model and its chat template: whether a config names them, and whether they exist."""

from __future__ import annotations

from pathlib import Path

from qtune.config.auto import AUTO
from qtune.config.model import local_model
from qtune.config.names import did_you_mean
from qtune.schema import SUPPORTED, template_names
from qtune.values import Config, Finding

_KEY = "model_name_or_path"


def check_model(config: Config, root: Path) -> list[Finding]:
    """A finding where no model is named, or the local one or the chat template does not exist."""
    value = config.find("train", _KEY)
    if value is None:
        fix = "set it under `train:` in qtune.yaml (`qtune init` makes one), or -m MODEL"
        return [Finding("error", _KEY, "no model is named", fix)]
    if not isinstance(value.value, str):
        return []  # the schema check says so
    directory = local_model(value.value, root)
    if directory is not None and not directory.is_dir():
        message = f"there is no model directory {directory}"
        fix = "correct the path, or name a hub's model such as Qwen/Qwen2.5-0.5B-Instruct"
        return [Finding("error", _KEY, message, fix, value.origin)]
    if directory is not None and not (directory / "config.json").is_file():
        fix = "name the directory that holds it"
        return [Finding("error", _KEY, f"{directory} holds no config.json", fix, value.origin)]
    return _check_template(config, value.value)


def _check_template(config: Config, model: str) -> list[Finding]:
    template = config.find("train", "template")
    if template is None or template.value in template_names():
        return []
    if template.value != AUTO:
        fix = did_you_mean(str(template.value), template_names()) or "template: auto takes it from the model"
        message = f"LLaMA-Factory {SUPPORTED} has no chat template `{template.value}`"
    else:
        fix = (
            "set `template` under `train:` in qtune.yaml to the one it was trained with, or -s template=NAME"
        )
        message = f"no chat template is known for {model}"
    return [Finding("error", "template", message, fix, template.origin)]
