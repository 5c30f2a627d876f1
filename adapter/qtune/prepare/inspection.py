"""Inspects all rows of datasets: which are read, for which stage, and which are searched for shared rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from qtune.checks.datasets import check_names, check_registration
from qtune.config.project import Project
from qtune.data.registrations import read_registrations, registered
from qtune.data.scanning import check_cache
from qtune.data.scanning.duplicates import Duplicates
from qtune.data.scanning.scan import Report, scan
from qtune.data.sources import DataSource, guessed_stage, is_local, source_for, uses_of, with_template
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.prepare import renderings
from qtune.prepare.cutoff_check import CutoffCheck
from qtune.values import Config, Finding, KeyPath, Value


@dataclass
class Inspection:
    """Which datasets to look at, and what is wrong before any row is read.

    config: the config that the data is checked against.
    together: groups of datasets, each of which is searched for rows that its members share; findings: what is
    wrong with names and registrations; elsewhere: the names of datasets whose data is not here.
    """

    project: Project
    config: Config
    together: list[list[DataSource]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def add(self, sources: Sequence[DataSource]) -> None:
        """Add a group of datasets.

        One that is registered wrongly is not read, since each of its rows would seem wrong.
        """
        here = []
        for source in sources:
            found = _findings(source)
            self.findings += (finding for finding in found if finding not in self.findings)
            if any(finding.severity == "error" for finding in found):
                continue
            if is_local(source.registration):
                here.append(source)
            else:
                self.elsewhere.append(source.registration.name)
        if here:
            self.together.append(here)

    def scan(
        self,
        sources: Sequence[DataSource],
        duplicates: Duplicates,
        *,
        every: bool = False,
        progress: Callable[[int], None] = lambda size: None,
        unsaid: Callable[[str], None] = lambda why: None,
    ) -> list[Report]:
        """Read all rows of one group; a training does not read again what passes.

        every: keep each line of a finding, not the first few; duplicates: gets what repeats; progress: called
        with the bytes of each part; unsaid: with what could not be looked at, and why.
        Raises QtuneError where one cannot be read at all.
        """
        cutoff = CutoffCheck(self.config, self.project.root, unsaid)
        key = check_cache.key_of(sources, cutoff.basis)
        found = scan(
            sources,
            self.project.root,
            every=every,
            duplicates=duplicates,
            extra=cutoff.of,
            progress=progress,
        )
        if not every:
            check_cache.remember(key, found)
        return found


def inspection_of(project: Project, names: Sequence[str], preset: str | None) -> Inspection:
    """What to look at where `names` are asked for; else all datasets, or those of `preset`.

    Raises QtuneError for a name that is not registered.
    """
    registrations = read_registrations(project)
    config = renderings.examine(project, preset, Hardware()).config
    in_use = uses_of(config)

    def used(name: str, evaluation: bool) -> DataSource:
        # all rows, whatever max_samples is: this is about the data
        return replace(source_for(registrations[name], evaluation, config, project.root), most_rows=None)

    def other(name: str) -> DataSource:
        alone = DataSource(registrations[name], guessed_stage(registrations[name]))
        return with_template(alone, config, project.root)

    inspection = Inspection(project, config)
    if names:
        for name in names:
            registered(project, name)
        uses = dict(reversed(in_use))
        known = preset is not None
        inspection.add(
            [
                used(name, uses.get(name, False)) if known or name in uses else other(name)
                for name in dict.fromkeys(names)
            ]
        )
        return inspection
    inspection.add([used(name, evaluation) for name, evaluation in in_use if name in registrations])
    if preset is not None:
        inspection.findings += check_names(config.values, registrations)
        return inspection
    named = dict(in_use)
    for name in registrations:
        if name not in named:
            inspection.add([other(name)])
    for values in _layers(project):
        inspection.findings += check_names(values, registrations)
    return inspection


def _findings(source: DataSource) -> list[Finding]:
    """Findings about a registration, but for those about the first row: reading all rows finds more."""
    registration = source.registration
    found = check_registration(registration, source.stage)
    of_file = f"{registration.name}.file_name"
    return [finding for finding in found if not (finding.key == of_file and is_local(registration))]


def _layers(project: Project) -> Iterator[Mapping[KeyPath, Value]]:
    """The values of the project and of each preset that can be read; `qtune check` tells of the others."""
    for layer in project.layers:
        yield layer.values
    for name in project.store.names():
        with suppress(QtuneError):
            yield project.store.load(name).layer.values
