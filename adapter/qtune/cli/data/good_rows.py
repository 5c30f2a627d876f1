"""`data check --fix`: the good rows of a dataset as a dataset of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from qtune.cli.data.group import PRESETS
from qtune.cli.data.report_view import reading
from qtune.cli.output import note
from qtune.config.presets import DEFAULT
from qtune.config.project import Project
from qtune.data.adding import register
from qtune.data.scanning import clean
from qtune.units import counted

if TYPE_CHECKING:
    from qtune.data.scanning.clean import Cleaned
    from qtune.data.sources import DataSource
    from qtune.data.states import State


@dataclass(frozen=True)
class GoodRows:
    """Where they go.

    out: the file to write; no_empty: leave out rows without a question or an answer too; force: write files
    and registrations that are there already anew.
    """

    project: Project
    out: Path
    no_empty: bool
    force: bool

    @property
    def name(self) -> str:
        """Of the new dataset; raises QtuneError where the file's name cannot be one."""
        return register.name_from(self.out.stem, str(self.out), "name the file otherwise")

    def refuse_taken(self, source: DataSource) -> None:
        """Raises QtuneError where something stands in the way, before any row is read."""
        clean.refuse_taken(source, self.out, force=self.force)
        fix = "name the file otherwise, or replace what is there with --force"
        register.refuse_taken(self.project, [self.name], force=self.force, fix=fix)

    def write(self, source: DataSource, marks: bytes, since: Mapping[Path, State]) -> Cleaned:
        """Write the files and register the good rows, like `source`; none of it where it raises.

        marks, since: as `clean` takes them.
        """
        entry = {**source.registration.entry, "file_name": register.file_name(self.out, self.project)}
        root, no_empty = self.project.root, self.no_empty
        with (
            reading([source]) as progress,
            clean.clean(source, root, marks, since, self.out, progress, no_empty=no_empty) as cleaned,
        ):
            register.add_entries(self.project, {self.name: entry}, force=self.force)
        return cleaned

    def tell(self, cleaned: Cleaned, stage: str, preset: str | None) -> None:
        """Say what was written. preset: the one that the rows were checked for, None for none."""
        typer.echo(f"{counted(cleaned.kept, 'row')} written to {cleaned.out}")
        typer.echo(f"{counted(cleaned.left_out, 'row')} left out, with reasons in {cleaned.rejected}")
        preset = preset or PRESETS.get(stage, DEFAULT)
        note(f"registered as `{self.name}`; next: `qtune render {preset} -d {self.name}`, then `qtune train`")

    def plain(self, cleaned: Cleaned) -> dict[str, Any]:
        """As JSON values."""
        return {**cleaned.to_plain(), "name": self.name}
