"""`doctor`: what on this machine would fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note, print_json
from qtune.cli.terminal import echo, folded, room, say
from qtune.units import counted

if TYPE_CHECKING:
    from qtune.doctor.line import Line

_READABLE = 30  # columns for a verdict beside its subject
_COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


@command("doctor", "qtune doctor", "qtune doctor stage3", "qtune doctor lora --hardware 2x24GB")
def doctor_command(
    preset: Annotated[
        str | None, options.preset_argument("What to be ready for; else what was rendered last.")
    ] = None,
    model: options.Model = None,
    assignments: options.Assignments = None,
    launcher: options.Launcher = None,
    hardware: Annotated[
        str | None,
        typer.Option(help="Of another machine, 2x24GB, …: what can be told of it from here, and no more."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Look at this machine: packages, GPUs, compilers, memory, disk, hub; what would fail, and its fix.

    A failure ends a training by the preset; a warning may, or ends other presets. Exit code 1 on a failure.
    """
    from qtune.doctor import readiness
    from qtune.machine.hardware import detect_hardware
    from qtune.prepare import renderings

    project = here()
    rendered = preset is None and renderings.current(project) is not None
    layers = options.override_layers(model, None, assignments, launcher)
    # of accelerators that only --hardware can name it has a line of its own
    machine = detect_hardware() if hardware is None else options.hardware_from(hardware)
    stack = options.stack_from(hardware)
    prepared = renderings.examine(project, preset, machine, layers, anew=hardware is not None, stack=stack)
    name = prepared.config.name
    if hardware is not None:
        lines = readiness.elsewhere(prepared, f"qtune check {name} --hardware {hardware}")
    else:
        with _telling("importing the training's libraries, as a training would"):
            lines = readiness.doctor(prepared, "qtune train --dry-run" if rendered else f"qtune check {name}")
    failures = sum(line.level == "failure" for line in lines)
    if as_json:
        numbered = [{"number": number, **asdict(line)} for number, line in enumerate(lines, 1)]
        print_json({"preset": name, "ready": not failures, "lines": numbered})
    else:
        show(lines)
        if hardware is not None:
            warnings = sum(line.level == "warning" for line in lines)
            counts = f"{counted(failures, 'failure')}, {counted(warnings, 'warning')}"
            note(f"{counts} as far as can be told from here; `qtune doctor` there looks at everything")
        else:
            _tell(name, failures, rendered=rendered)
    if failures:
        raise typer.Exit(1)


def show(lines: Sequence[Line], *, numbered: bool = True, err: bool = False) -> None:
    """Print the lines, each with its fix."""
    width = max((len(line.subject) for line in lines), default=0)
    for number, line in enumerate(lines, 1):
        start = f"{number:>2}  " if numbered else ""
        before = len(start) + 9
        behind = before + width + 2
        if (columns := room(sys.stderr if err else sys.stdout)) is not None and columns < behind + _READABLE:
            behind = before  # else each line holds a word
        text = folded(f"{line.subject:<{width}}  {line.says}", err=err, indent=before, later=behind)
        typer.echo(start, nl=False, err=err)
        echo(f"{line.level:<7}", fg=_COLOURS[line.level], bold=True, nl=False, err=err)
        typer.echo(text[before - 2 :], err=err)
        if line.fix is not None:
            say(f"fix: {line.fix}", err=err, indent=before, later=before + len("fix: "))


def _tell(name: str, failures: int, *, rendered: bool) -> None:
    named = "" if rendered else f" {name}"
    if failures:
        what = f"{counted(failures, 'failure')} {'ends' if failures == 1 else 'end'}"
        note(f"{what} a training by {name}; `qtune doctor{named}` again once mended")
    else:
        fits = "" if rendered else f"; `qtune estimate {name}` says whether it fits"
        note(f"ready: `qtune train{named}` trains{fits}")


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Show on a terminal what is going on for some seconds, and remove it afterwards."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
