"""The plan of an evaluation: which models are measured on which rows, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from qtune.checks import check
from qtune.config.project import Project
from qtune.data.registrations import Registration, read_registrations
from qtune.data.sources import DataSource, sources_of
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.machine.stack import Stack
from qtune.use.evaluation.arguments import Kind, config_for, given
from qtune.use.evaluation.data import PREFERENCES, Data, choose
from qtune.use.models import Trained, find
from qtune.values import Config, Finding

Whose = Literal["base", "tuned"]

_METRICS = "generation-metrics-are-installed"
_HOW_TO_MEASURE = "pip install 'qtune[eval]'; or --loss-only, for loss and perplexity alone"


@dataclass(frozen=True)
class Pass:
    """One child: the loss of one of the two models, or its answers."""

    whose: Whose
    kind: Kind
    config: Config


@dataclass(frozen=True)
class Evaluation:
    """What to measure, of which models, on which rows, and everything that is wrong with it.

    trained: the run's result, also where its base alone is measured; titles: of the models, in the order in
    which they are shown.
    """

    project: Project
    trained: Trained
    data: Data
    hardware: Hardware
    registrations: Mapping[str, Registration]
    titles: Mapping[Whose, str]
    passes: tuple[Pass, ...]
    findings: tuple[Finding, ...]

    @property
    def directory(self) -> str:
        """The name of its results' directory."""
        step = self.trained.checkpoint
        return self.data.directory + (f"@{step}" if step is not None else "")

    @property
    def sources(self) -> list[DataSource]:
        """The datasets of local files that it reads."""
        return sources_of(self.passes[0].config, self.registrations, self.project.root)


def plan(
    project: Project,
    name: str | None,
    *,
    dataset: str | None,
    checkpoint: int | None,
    base: bool | None,
    loss_only: bool,
    max_samples: int | None,
    assignments: Sequence[str],
    hardware: Hardware,
    stack: Stack | None,
    left_out: Callable[[QtuneError], None] = lambda error: None,
) -> Evaluation:
    """What `qtune eval` measures of the run `name`; nothing is started or written.

    base: True for the untouched model alone, False for the run's result alone, None for both; left_out: as
    `find` has it.
    Raises QtuneError for a run that is not finished or broken, for data that says nothing of it, and for
    settings without effect.
    """
    subjects = subjects_of(project, name, checkpoint, base, left_out)
    trained = list(subjects.values())[-1]
    registrations = read_registrations(project)
    data = choose(trained, registrations, dataset, max_samples)
    layer = given(assignments)
    if "val_size" in data.values and ("train", "seed") in layer.values:
        raise QtuneError(
            f"decides which rows `{trained.name}` held back; others were trained on",
            where="--set seed",
            fix="leave it out, or name a dataset: -d NAME",
        )
    if base is True and data.stage in PREFERENCES:
        raise QtuneError(
            f"at stage {data.stage} the untouched model has nothing to measure: it is what the run is"
            " measured against",
            where="--base",
            fix="leave it out",
        )
    if data.stage in PREFERENCES:
        subjects.pop("base", None)
    kinds: list[Kind] = ["loss"] if loss_only or data.stage != "sft" else ["loss", "answers"]
    passes = tuple(
        Pass(whose, kind, config_for(subject, kind, data, layer, hardware, project.root))
        for whose, subject in subjects.items()
        for kind in kinds
    )
    findings: dict[Finding, None] = {}
    for item in passes:
        for finding in check(item.config, registrations, project.root, hardware, stack):
            fix = _HOW_TO_MEASURE if finding.rule == _METRICS else finding.fix
            findings[replace(finding, fix=fix)] = None
    titles: dict[Whose, str] = {whose: subject.title for whose, subject in subjects.items()}
    return Evaluation(project, trained, data, hardware, registrations, titles, passes, tuple(findings))


def subjects_of(
    project: Project,
    name: str | None,
    checkpoint: int | None,
    base: bool | None,
    left_out: Callable[[QtuneError], None],
) -> dict[Whose, Trained]:
    """The models to measure of the run `name`: its base, what came of it, or both in this order.

    left_out: as `find` has it.
    """
    trained = find(project, name, checkpoint=checkpoint, base=base is True, left_out=left_out)
    if base is None:
        return {"base": find(project, str(trained.directory), base=True), "tuned": trained}
    return {"base" if base else "tuned": trained}
