"""The findings about many presets, and which presets are sound but not made for this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qtune.config.defaults import withdrawal
from qtune.config.presets import BASE
from qtune.config.project import Project
from qtune.config.sources import built_in
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.machine.stack import Stack
from qtune.prepare import pipeline
from qtune.values import Finding, Layer, Origin


@dataclass(frozen=True)
class Suitability:
    """The findings by preset; unsuitable: the presets that come with qtune and do not suit this project, each
    with the first reason; notes: what of the project's defaults does not hold."""

    findings: Mapping[str, tuple[Finding, ...]]
    notes: tuple[str, ...]
    unsuitable: Mapping[str, Finding] = field(default_factory=dict)

    @property
    def distinct(self) -> list[Finding]:
        """What is wrong with the others, each finding once."""
        others = (found for name, found in self.findings.items() if name not in self.unsuitable)
        return list(dict.fromkeys(finding for found in others for finding in found))


def examine_presets(
    project: Project,
    hardware: Hardware,
    layers: Sequence[Layer],
    stack: Stack | None,
    names: Sequence[str] = (),
) -> Suitability:
    """Everything that is wrong with the presets `names`, of which each counts as suitable; else with all."""
    notes: dict[str, None] = {}

    def examine(name: str) -> tuple[Finding, ...]:
        """What is wrong with one preset, so that one that cannot be read hides nothing of the others."""
        try:
            prepared = pipeline.examine(name, project, hardware, layers, stack=stack)
        except QtuneError as error:
            origin = Origin("", error.where) if error.where else None
            return (Finding("error", "", error.what, error.fix or "mend it", origin),)
        if withdrawn := withdrawal(prepared.config):
            notes[withdrawn] = None
        return prepared.findings

    findings = {name: examine(name) for name in names or project.store.names()}
    unsuitable = {} if names else _unsuitable(project, findings, examine(BASE))
    return Suitability(findings, tuple(notes), unsuitable)


def _unsuitable(
    project: Project, findings: Mapping[str, tuple[Finding, ...]], of_base: tuple[Finding, ...]
) -> dict[str, Finding]:
    """The presets that come with qtune and do not suit this project, each with its first reason.

    findings: by preset; of_base: what is wrong under `base` alone. That, and what is wrong with the project's
    own presets, is no matter of suiting.
    """
    theirs = [name for name in findings if _comes_with_qtune(project, name)]
    faults = {*of_base, *(finding for name in findings if name not in theirs for finding in findings[name])}
    reasons = {
        name: [item for item in findings[name] if item.severity == "error" and item not in faults]
        for name in theirs
    }
    return {name: found[0] for name, found in reasons.items() if found}


def _comes_with_qtune(project: Project, name: str) -> bool:
    try:
        return project.store.load(name).source == built_in()
    except QtuneError:  # a broken one of the project's own, which its findings tell
        return False
