"""One list of findings about a config: nothing is raised at the first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qtune.checks.datasets import check_datasets
from qtune.checks.model import check_model
from qtune.checks.schema import check_schema
from qtune.data.registrations import Registration
from qtune.values import Config, Finding


def check(config: Config, registrations: Mapping[str, Registration], root: Path) -> list[Finding]:
    """Every finding about `config`, in the order model, data, keys.

    root: the project's root, from which relative paths start.
    """
    findings = [*check_model(config, root)]
    if config.find("train", "dataset") is None:
        fix = "set it under `train:` in qtune.yaml, or -d NAME"
        findings.append(Finding("error", "dataset", "no dataset is named", fix))
    return [*findings, *check_datasets(config, registrations), *check_schema(config)]
