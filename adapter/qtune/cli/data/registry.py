"""A whole dataset_info.json into a project's registrations, for the commands that are given one."""

from __future__ import annotations

from pathlib import Path

import typer

from qtune.cli.output import note, plain_finding, print_json, report
from qtune.config.names import few
from qtune.config.project import Project
from qtune.units import counted


def add_registry(
    project: Project,
    path: Path,
    *,
    force: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
    fix: str = "--force replaces what is there",
) -> None:
    """Register what is a dataset in it, and say what is not.

    force: in the place of what has the same names; dry_run: write nothing; fix: what to do where a name is
    taken. Raises QtuneError, with nothing written, where one is, or where nothing is a dataset.
    """
    from qtune.data.adding.register import add_entries, entries_text, refuse_taken
    from qtune.importing.registry import take_over

    registry = take_over(path, project)
    refuse_taken(project, list(registry.datasets), force=force, fix=fix)
    if not dry_run:
        add_entries(project, registry.datasets, force=force)
    if as_json:
        findings = [plain_finding(finding) for finding in registry.findings]
        told = {"missing": registry.missing, "ignored": registry.ignored, "findings": findings}
        print_json({"entries": registry.datasets, **told})
    elif dry_run:
        typer.echo(entries_text(registry.datasets), nl=False)
    else:
        typer.echo(f"{counted(len(registry.datasets), 'dataset')} registered in data/datasets.yaml")
    report(registry.findings)
    if registry.missing:
        note(f"{len(registry.missing)} of them have no file here: {few(registry.missing)}")
    if registry.ignored:
        note(f"left out, as LLaMA-Factory has no such keys: {few(registry.ignored)}")
    if registry.with_media:
        media = f"media_dir: {registry.media_dir}"
        note(f"{few(registry.with_media)}: train with {media}, from which pictures and the like start")
    note("nothing was written (--dry-run)" if dry_run else "next: `qtune data list`")
