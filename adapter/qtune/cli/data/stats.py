"""`data stats`: how long a dataset's rows are in tokens, and what follows from it for a training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.data.group import ALONE
from qtune.cli.output import note, print_json, report
from qtune.cli.table import print_table
from qtune.cli.terminal import room, say
from qtune.files import write_atomic
from qtune.units import counted
from qtune.values import Config

if TYPE_CHECKING:
    from qtune.data.lengths.statistics import Statistics
    from qtune.data.registrations import Registration
    from qtune.predict.steps import Steps

_SCHEDULE = ("per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps")
_BINS = 16
_BAR_WIDTH = 48
_PROGRESS_FROM_BYTES = 20_000_000


@command("data stats", "qtune data stats answers", "qtune data stats answers --html lengths.html")
def stats_command(
    name: options.DatasetName,
    preset: options.ForPreset = None,
    model: options.Model = None,
    assignments: options.Assignments = None,
    hardware: options.Hardware = None,
    wide: options.Wide = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the picture to FILE too, as one web page.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Count the tokens of every row as LLaMA-Factory would, and say what follows for cutoff_len and packing.

    Needs no torch: the model's own tokenizer.json counts where it is on this machine (a directory, or a
    download of either hub); else tokens are estimated from characters, and the output says so.
    """
    from qtune.data.lengths.statistics import measure
    from qtune.data.registrations import registered
    from qtune.data.token_cache import token_arguments
    from qtune.predict.steps import steps_by_packing
    from qtune.prepare import renderings

    project = here()
    registration = registered(project, name)
    layers = options.override_layers(model, name, [*(assignments or []), *ALONE])
    machine, anew = options.hardware_from(hardware), hardware is not None
    prepared = renderings.examine(project, preset, machine, layers, anew=anew)
    keys = {*token_arguments(), *_SCHEDULE} - {"dataset"}  # what is wrong with the data is said below
    errors = [finding for finding in prepared.errors if finding.key in keys]
    if errors:
        report(errors)
        raise typer.Exit(2)
    config = prepared.config
    with _progress(registration) as advance:
        found = measure(registration, config.block("train"), project.root, advance)
    drawn = registration.entry.get("num_samples") or found.rows
    steps = steps_by_packing(config, found.rows, drawn, found.padding.sequences)
    if html is not None:
        from qtune.pages.lengths import page

        write_atomic(html, page(found))
    if as_json:
        print_json({**found.to_plain(), "preset": config.name, "steps": _plain(steps)})
        return
    _print(found, wide)
    _print_meaning(found, config, steps)
    if html is not None:
        note(f"wrote {html}")


def _plain(steps: dict[bool, Steps | None]) -> dict[str, Any]:
    named = {"without_packing": steps[False], "with_packing": steps[True]}
    return {
        name: None if found is None else {"total": found.total, "effective_batch": found.effective_batch}
        for name, found in named.items()
    }


def _print(found: Statistics, wide: bool) -> None:
    typer.echo(f"{found.name}: {counted(found.rows, 'row')}, stage {found.stage}, template {found.template}")
    without = ", without images, videos and audios" if found.uncounted is not None else ""
    say(f"tokens: {found.tokenizer}{without}")
    if found.left_out:
        lost = counted(found.left_out, "row is", "rows are")
        note(f"{lost} left out or unreadable: `qtune data check {found.name}` says why")
    if found.estimated and found.estimated != found.rows:
        odd = counted(found.estimated, "row has", "rows have")
        note(f"{odd} tools, images, videos or audios: their tokens are estimated")
    names = list(found.tokens.percentiles)
    print_table(
        ("a row has", "in all", "mean", *names),
        [
            ("turns", *found.turns.figures),
            ("characters", *found.characters.figures),
            ("tokens", *found.tokens.figures),
        ],
        leaving=("in all", "p95", "p50"),
        wide=wide,
    )
    typer.echo("rows by tokens")
    bins = found.histogram(_BINS)
    most = max(rows for _, _, rows in bins)
    labels = [f"{first:,}-{last:,}" for first, last, _ in bins]
    width = max(map(len, labels))
    longest = min(_BAR_WIDTH, max(1, (room(sys.stdout) or 2 * _BAR_WIDTH) - width - len(f"{most:,}") - 5))
    for label, (_, _, rows) in zip(labels, bins, strict=True):
        bar = "█" * round(longest * rows / most) or ("▏" if rows else "")
        typer.echo(f"  {label:>{width}}  {bar} {rows:,}" if rows else f"  {label:>{width}}")
    if len(found.rows_by_turns) > 1:
        turns = ", ".join(f"{turns}: {rows:,}" for turns, rows in list(found.rows_by_turns.items())[:12])
        more = ", …" if len(found.rows_by_turns) > 12 else ""
        say(f"rows by turns  {turns}{more}", later=15)


def _print_meaning(found: Statistics, config: Config, steps: dict[bool, Steps | None]) -> None:
    wanted = found.recommended_cutoff_len
    lines = [("cutoff_len", f"no advice on it, nor on packing: {found.uncounted}")]
    if wanted is not None:
        lines = [
            ("cut", _cut(found)),
            ("padding", _padding(found)),
            ("cutoff_len", _cutoff_len(found, wanted)),
        ]
        if found.stage != "ppo":  # which trains on what the model itself generates
            share = f"{found.labels:,} of {found.kept:,} tokens an epoch ({found.label_share:.1%})"
            lines.insert(0, ("trained on", share))
        if found.stage == "sft":
            lines.append(("packing", _packing(found)))
    if (planned := steps[found.packing]) is not None:
        lines.append(("steps", _planned(planned, config, found.packing)))
        if found.recommends_packing and not found.packing and (packed := steps[True]) is not None:
            lines.append(("", f"about {packed.total:,} with packing, and each on more tokens"))
    typer.echo()
    for label, text in lines:
        say(f"{label:<10}  {text}", later=12)


def _cut(found: Statistics) -> str:
    if found.stage == "pt" and found.packing:
        return f"no rows: texts follow one another in sequences of {found.cutoff_len:,} tokens"
    share, are = f"({found.cut / found.rows:.1%})", "is" if found.cut == 1 else "are"
    rows = f"{counted(found.cut, 'row')} {share} {are} longer than cutoff_len {found.cutoff_len:,}"
    lose = "loses" if found.answers_cut == 1 else "lose"
    return f"{rows}; {found.answers_cut:,} {lose} tokens to train on" if found.cut else rows


def _padding(found: Statistics) -> str:
    shares = found.padding
    packed = None if shares.with_packing is None else f"{shares.with_packing:.1%}"
    if found.packing and packed is not None:
        return f"{packed} of what is computed, with packing"
    without = f"{shares.without_packing:.1%} of what is computed, in batches of {found.batch_size}"
    return without if packed is None else f"{without}; {packed} with packing"


def _cutoff_len(found: Statistics, wanted: int) -> str:
    given = found.cutoff_len
    if found.stage == "pt" and found.packing:
        return f"{given:,}: as long as memory allows, since nothing is cut"
    cut = found.share_cut(wanted)
    whole = f"leaves {1 - cut:.1%} of the rows whole" if cut else "leaves every row whole"
    if wanted == found.longest_position:
        whole += ", and is the most that the model's positions allow"
    if wanted > given:
        return f"-s cutoff_len={wanted} {whole}, {given} only {1 - found.share_cut(given):.1%}"
    return f"{given} {whole}" if wanted == given else f"-s cutoff_len={wanted} is enough: it {whole}"


def _packing(found: Statistics) -> str:
    if found.recurrent:
        on = "on: `qtune check` says whether rows see each other in this model"
        return on if found.packing else "would let rows see each other in this model"
    if found.recommends_packing:
        return (
            "on, as it should be" if found.packing else "-s packing=true -s neat_packing=true saves padding"
        )
    return "on, though it saves little here" if found.packing else "would save little here"


def _planned(planned: Steps, config: Config, packing: bool) -> str:
    epochs = counted(float(config.argument("num_train_epochs")), "epoch")
    length = f"max_steps {planned.total:,}" if config.argument("max_steps") > 0 else epochs
    processes = counted(config.processes, "process")
    batch = (
        f"{counted(planned.effective_batch, 'packed sequence' if packing else 'row')} a step "
        f"({config.argument('per_device_train_batch_size')} × "
        f"{config.argument('gradient_accumulation_steps')} accumulated × {processes})"
    )
    return f"{planned.total:,} in {length}, {batch}, with preset {config.name}"


@contextmanager
def _progress(registration: Registration) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal while a large file is read, else nothing.

    Yields the function to call with the bytes and rows of each part that was read.
    """
    from qtune.data.file_types import COLUMNAR_SUFFIXES, data_files

    path = registration.path
    files = data_files(path) if path is not None and path.exists() else []
    size = sum(file.stat().st_size for file in files)
    if size < _PROGRESS_FROM_BYTES or not sys.stderr.isatty():
        yield lambda size, rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    known = not any(file.suffix in (*COLUMNAR_SUFFIXES, ".csv", ".txt") for file in files)
    columns = (TextColumn("{task.completed:,} rows"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        done = rows_done = 0

        def advance(read: int, rows: int) -> None:
            nonlocal done, rows_done
            done, rows_done = done + read, rows_done + rows
            total = rows_done * size / done if known and done else None
            bar.update(task, completed=rows_done, total=total)

        yield advance
