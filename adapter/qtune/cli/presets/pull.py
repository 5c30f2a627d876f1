"""`presets pull`: fetch the presets that others share."""

from __future__ import annotations

from typing import Annotated

import typer

from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import note
from qtune.config import lock_file
from qtune.units import counted

_SHOWN = 5


@command("presets pull", "qtune presets pull", "qtune presets pull --locked")
def pull_command(
    locked: Annotated[
        bool,
        typer.Option(
            "--locked", help=f"Fetch what {lock_file.FILE} pins, as a colleague or a build machine needs."
        ),
    ] = False,
) -> None:
    """Fetch the git sources of `presets:` in qtune.yaml, pin them in qtune.lock, and say what changed.

    Everything else works offline on what is pinned. Where one source fails, qtune.lock stays as it was.
    """
    from qtune import sharing

    pulled = sharing.pull(here(), locked=locked)
    for item in pulled:
        name, ref = item.source.name, item.source.ref
        if item.before is None:
            typer.echo(f"{name}: {ref} is {item.pin.short}, {counted(len(item.pin.files), 'file')}")
        elif item.before == item.pin:
            typer.echo(f"{name}: {'' if locked else f'{ref} is '}{item.pin.short}, as before")
        else:
            typer.echo(
                f"{name}: {ref} is {item.pin.short}, was {item.before.short}; {_what_changed(item.changed)}"
            )
    news = any(item.pin != item.before for item in pulled)
    note(f"next: {f'commit {lock_file.FILE}; ' if news else ''}`qtune presets` shows what there is")


def _what_changed(paths: list[str]) -> str:
    if not paths:
        return "no preset or template changed"
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"changed: {', '.join(paths[:_SHOWN])}{more}"
