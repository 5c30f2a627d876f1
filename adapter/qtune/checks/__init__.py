"""Checking a config: every finding in one list, instead of an error at the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from qtune.checks.datasets import check_datasets
from qtune.checks.model import check_model
from qtune.checks.paths import check_paths
from qtune.checks.rules import check_rules
from qtune.checks.rules.view import View
from qtune.checks.schema import check_schema
from qtune.checks.served_text import check_served_text
from qtune.data.registrations import Registration
from qtune.machine.hardware import Hardware
from qtune.machine.stack import Stack
from qtune.schema import reasoning_templates
from qtune.secrets.text import without
from qtune.values import Config, Finding


def check(
    config: Config,
    registrations: Mapping[str, Registration],
    root: Path,
    hardware: Hardware,
    stack: Stack | None = None,
) -> list[Finding]:
    """Every finding about `config`, in the order model, data, keys, paths, combinations of keys.

    root: the project's root, from which relative paths start; hardware: what it will train on; stack: what
    is installed there, None where that is not this machine.
    """
    findings = check_model(config, root)
    if config.find("train", "dataset") is None and config.get("train", "do_train", default=True):
        fix = "set it under `train:` in qtune.yaml, or -d NAME"
        findings.append(Finding("error", "dataset", "no dataset is named", fix))
    mistakes = check_schema(config)
    mistaken = frozenset(mistake.key for mistake in mistakes)
    view = View(_without(config, mistaken), hardware, registrations, root, stack)
    findings += [*check_datasets(config, registrations), *mistakes]
    findings += [*check_paths(view), *check_rules(view, mistaken)]
    if not any(found.key == "template" for found in findings):  # else the text will be another one
        tools = any(dataset.block("columns").get("tools") for dataset in view.datasets)
        findings += check_served_text(view.config, view.model_directory, tools=tools)
    if view["template"] in reasoning_templates():
        from qtune.checks.thoughts import check_thoughts  # and with it how rows are read

        findings += check_thoughts(view.config, registrations)
    return [replace(found, message=without(found.message), fix=without(found.fix)) for found in findings]


def _without(config: Config, keys: frozenset[str]) -> Config:
    """The config without the values at `keys`, which are written as findings name them."""
    kept = {
        path: value
        for path, value in config.values.items()
        if ".".join(path[1:] if path[0] == "train" else path) not in keys
    }
    return replace(config, values=kept)
