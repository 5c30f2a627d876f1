"""`presets`: the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import group
from qtune.cli.output import left_out, note, print_json
from qtune.cli.table import markdown_table, print_table
from qtune.config.presets import Preset, fitting, memory_size
from qtune.config.project import Project
from qtune.config.resolve import merge
from qtune.errors import QtuneError
from qtune.units import size_text
from qtune.values import Config

if TYPE_CHECKING:
    from qtune.predict.memory.estimate import Range

_FITS = "fits (0.5B, or the model named)"
_CATALOGUE: dict[str, Callable[[Preset, Config], str]] = {
    "preset": lambda preset, config: preset.name,
    "group": lambda preset, config: preset.group,
    "method": lambda preset, config: preset.about,
    "batch per device": lambda preset, config: str(config.get("train", "per_device_train_batch_size")),
    "cutoff_len": lambda preset, config: str(config.get("train", "cutoff_len")),
    _FITS: lambda preset, config: preset.fits,
    "speed": lambda preset, config: preset.speed,
    "when": lambda preset, config: preset.when,
}
"""The columns, and what stands in each of a preset."""


@group(
    "presets",
    "qtune presets",
    "qtune presets --fits 24GB",
    "qtune presets --fits 24GB -m Qwen/Qwen2.5-7B",
    invoke_without_command=True,
)
def presets_command(
    context: typer.Context,
    as_json: options.Json = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table, as README has it.")
    ] = False,
    fits: Annotated[
        str | None, typer.Option(metavar="MEMORY", help="Only those that fit one GPU: 24GB, A10G, …")
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="With --fits: what fits is estimated, for this model.")
    ] = None,
    wide: options.Wide = False,
) -> None:
    """List the presets by group, in each those that need the most memory first.

    A project's own presets are listed too, before the built-in ones of the same name, and with them the
    source and commit that each preset comes from.

    --fits alone goes by what presets say of themselves, most of them for a model of 0.5B parameters.
    """
    if context.invoked_subcommand is not None:
        return
    project = here()
    store = project.store
    presets = store.catalogue()
    left_out(*store.broken.values(), *store.odd_files())
    needs: Mapping[str, Range] = {}
    if model is not None:
        needs = _needs(project, model, fits)
        presets = [preset for preset in presets if preset.name in needs]
    elif fits is not None:
        silent = sum(not preset.fits for preset in presets)
        presets = fitting(presets, fits)
        if silent:
            note(f"{silent} presets do not say how much memory they need, and are left out")
            note("`-m MODEL` beside --fits estimates what each needs for that model")
    rows = [
        (preset, merge(preset.name, [item.layer for item in store.chain(preset.name)])) for preset in presets
    ]
    if as_json:
        print_json([_describe(preset, config, needs.get(preset.name)) for preset, config in rows])
        return
    cells = {name: [cell(*row) for row in rows] for name, cell in _CATALOGUE.items()}
    if as_markdown:
        cells["preset"] = [f"`{name}`" for name in cells["preset"]]
        typer.echo(markdown_table(list(cells), list(zip(*cells.values(), strict=True))))
        return
    if not rows:
        note("no preset fits; `qtune recommend` says what would help")
        return
    _print(cells, [preset.source.label for preset in presets] if project.entries else [], needs, wide)
    if shadowed := store.shadowed():
        note(f"behind others of their name, and reached as: {', '.join(shadowed)}")
    note("next: `qtune show PRESET`, or `qtune render PRESET` to write its files")


def _print(
    cells: Mapping[str, Sequence[str]], sources: Sequence[str], needs: Mapping[str, Range], wide: bool
) -> None:
    """cells: the catalogue's, by column; sources: where each preset is from, empty where all are built in."""
    fits = "needs at most" if needs else "fits"
    shown = {fits if name == _FITS else name: column for name, column in cells.items()}
    headings = [name or "without a group" for name in shown.pop("group")]
    if needs:
        shown[fits] = [size_text(needs[name].high) for name in shown["preset"]]
    if sources:
        shown["from"] = sources
    print_table(
        list(shown),
        list(zip(*shown.values(), strict=True)),
        prose=("method", "when"),
        leaving=("cutoff_len", "batch per device", "speed", "when", "from"),
        headings=headings,
        wide=wide,
    )
    if not needs:
        note("fits: the GPU memory for a model of 0.5B parameters, or for the one named")


def _needs(project: Project, model: str, fits: str | None) -> dict[str, Range]:
    """By the name of each preset that fits one GPU of so much memory, what the model needs of it."""
    from qtune.advice.forecast import forecast_all
    from qtune.cli.plan.estimate_view import tell_experts
    from qtune.machine.hardware import parse_gpu

    if fits is None:
        raise QtuneError("goes with --fits", where="--model", fix="say how much memory: --fits 24GB")
    machine = parse_gpu(fits) or parse_gpu(f"{memory_size(fits):g}GB")
    assert machine is not None  # of a size that is none it says so
    found, unsuitable = forecast_all(project, machine, options.override_layers(model, None, None), None)
    note(f"estimated for {model} on {machine.described}, rows as long as cutoff_len")
    tell_experts((row.config, row.model) for row in found)
    for name, why in unsuitable.items():
        note(f"not for this: {name} ({why})")
    if tight := [row.name for row in found if row.estimate.verdict == "tight"]:
        note(f"may just fit, and not listed: {', '.join(tight)}")
    return {row.name: row.estimate.gpu for row in found if row.estimate.verdict == "fits"}


def _describe(preset: Preset, config: Config, needs: Range | None) -> dict[str, Any]:
    """needs: of GPU memory, where it was estimated."""
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
        **({} if needs is None else {"gpu": asdict(needs)}),
    }
