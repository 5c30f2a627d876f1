"""`presets`: the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import group
from qtune.cli.output import leave_out, markdown_table, note, print_json, print_table
from qtune.config.presets import Preset, fitting
from qtune.config.resolve import merge
from qtune.values import Config

_CATALOGUE: dict[str, Callable[[Preset, Config], str]] = {
    "preset": lambda preset, config: preset.name,
    "group": lambda preset, config: preset.group,
    "method": lambda preset, config: preset.about,
    "batch per device": lambda preset, config: str(config.get("train", "per_device_train_batch_size")),
    "cutoff_len": lambda preset, config: str(config.get("train", "cutoff_len")),
    "fits (0.5B, or the model named)": lambda preset, config: preset.fits,
    "speed": lambda preset, config: preset.speed,
    "when": lambda preset, config: preset.when,
}
"""The table's columns, and what stands in each of a preset."""


@group("presets", "qtune presets", "qtune presets --fits 24GB", invoke_without_command=True)
def presets_command(
    context: typer.Context,
    as_json: options.Json = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table, as README has it.")
    ] = False,
    fits: Annotated[
        str | None, typer.Option(metavar="MEMORY", help="Only those that fit in so much GPU memory: 24GB.")
    ] = None,
) -> None:
    """List the presets by group, in each those that need the most memory first.

    A project's own presets are listed too, before the built-in ones of the same name, and with them the
    source and commit that each preset comes from.
    """
    if context.invoked_subcommand is not None:
        return
    project = here()
    store = project.store
    presets = store.catalogue()
    leave_out([*store.broken.values(), *store.odd_files()])
    if fits is not None:
        silent = sum(not preset.fits for preset in presets)
        presets = fitting(presets, fits)
        if silent:
            note(f"{silent} presets do not say how much memory they need, and are left out")
    rows = [
        (preset, merge(preset.name, [item.layer for item in store.chain(preset.name)])) for preset in presets
    ]
    columns = list(_CATALOGUE)
    cells = [[cell(*row) for cell in _CATALOGUE.values()] for row in rows]
    if as_json:
        print_json([_describe(preset, config) for preset, config in rows])
    elif as_markdown:
        typer.echo(markdown_table(columns, [[f"`{name}`", *others] for name, *others in cells]))
    else:
        if project.entries:
            columns.insert(1, "from")
            for row, (preset, _) in zip(cells, rows, strict=True):
                row.insert(1, preset.source.label)
        print_table(columns, cells)
        if shadowed := store.shadowed():
            note(f"behind others of their name, and reached as: {', '.join(shadowed)}")
        note("next: `qtune show PRESET`, or `qtune render PRESET` to write its files")


def _describe(preset: Preset, config: Config) -> dict[str, Any]:
    return {
        "name": preset.name,
        "group": preset.group,
        "about": preset.about,
        "when": preset.when,
        "speed": preset.speed,
        "fits": preset.fits,
        "extends": list(preset.extends),
        "step_down": preset.step_down,
        "per_device_train_batch_size": config.get("train", "per_device_train_batch_size"),
        "cutoff_len": config.get("train", "cutoff_len"),
        "source": preset.source.name,
        "commit": preset.source.pin.commit if preset.source.pin else None,
        "file": preset.layer.file,
    }
