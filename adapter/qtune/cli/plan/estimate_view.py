"""Shows an estimate: as a table of parts, as a line among other presets' estimates, or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import typer

from qtune.advice.certain import certain
from qtune.advice.forecast import Forecast
from qtune.cli.output import note
from qtune.cli.table import print_table
from qtune.cli.terminal import say
from qtune.predict.memory.estimate import Range
from qtune.predict.memory.weights import left_in_16_bits
from qtune.predict.models.shapes import Model
from qtune.units import count_text, counted, size_text
from qtune.values import Config

WORDS = {"fits": "fits", "tight": "may just fit", "does not fit": "does not fit"}


def show(row: Forecast, options: str) -> None:
    """Print one preset's parts, and what follows from them."""
    found, model = row.estimate, row.model
    say(f"{row.name} with {model.name} on {row.machine.described}")
    share = found.trainable.parameters / max(model.parameters + found.trainable.added, 1)
    say(
        f"  {model.parameters:,} parameters (from {model.source}); "
        f"{found.trainable.parameters:,} trained ({share:.2%})"
    )
    where = "host" if row.machine.is_cpu else "gpu"
    if where == "gpu":
        _parts(row, "gpu", f"GPU memory at the peak, {found.moment}", found.gpu)
    peak = f" at the peak, {found.moment}" if row.machine.is_cpu else ""
    _parts(row, "host", f"host memory{peak}", found.host)
    say(_verdict(row))
    if found.verdict == "tight" and (remedy := certain(row)):
        settings = "".join(f" -s {setting}" for setting in remedy.settings)
        say(f"for certain it fits with {remedy.text}{settings and f':{settings}'}")
    limit = row.config.get("train", "save_total_limit")
    kept = "all that it keeps at once" + (f" (save_total_limit: {limit})" if limit else "")
    say(f"disk: {size_text(found.checkpoint)} a checkpoint, {size_text(found.disk)} for {kept}")
    say(_steps(row))
    say(f"assumed: {'; '.join(found.assumptions)}")
    if found.verdict == "fits":
        here = options.partition(" --hardware")[0]  # on which a training takes place, whatever is named
        note(f"next: `qtune train {row.name}{here}`, or `qtune recommend{options}`")
    else:
        note(f"next: `qtune recommend{options}` names the fastest preset that fits")


def show_all(rows: Sequence[Forecast], *, wide: bool = False) -> None:
    """Print the presets in the order of the catalogue, one line each."""
    first = rows[0]
    size = f"{count_text(first.model.parameters)} parameters"
    say(f"{first.model.name}, {size}, on {first.machine.described}, rows as long as cutoff_len")
    lines = [_line(row) for row in rows]
    leaving = ("trained", "cutoff_len", "batch", "checkpoint", "range", "host")
    print_table(list(lines[0]), [list(line.values()) for line in lines], leaving=leaving, wide=wide)


def _line(row: Forecast) -> dict[str, str]:
    """Cells by column; those of GPU memory only where there are GPUs."""
    found = row.estimate
    return {
        "preset": row.name,
        "verdict": WORDS[found.verdict],
        **({} if row.machine.is_cpu else _of_gpu(found.gpu)),
        "host": size_text(found.host.expected),
        "checkpoint": size_text(found.checkpoint),
        "batch": f"{' x '.join(map(str, row.batch))} = {row.effective_batch}",
        "cutoff_len": str(row.config.argument("cutoff_len")),
        "trained": count_text(found.trainable.parameters),
    }


def _of_gpu(needed: Range) -> dict[str, str]:
    low, high = size_text(needed.low), size_text(needed.high)
    return {"per GPU": size_text(needed.expected), "range": f"{low} to {high}"}


def explain_terms(rows: Sequence[Forecast]) -> None:
    """Say what the terms in the table mean."""
    note("per GPU: what is expected; batch: per device x accumulation x processes")
    tell_experts((row.config, row.model) for row in rows)
    if any(row.estimate.verdict == "tight" for row in rows):
        note("may just fit: what is expected fits, the most that it may need does not")


def tell_experts(trained: Iterable[tuple[Config, Model]]) -> None:
    """Say once of presets that quantise a model what of it they leave in 16 bits."""
    for said in dict.fromkeys(left_in_16_bits(config.block("train"), model) for config, model in trained):
        if said:
            note(f"quantised: {said}")


def describe(row: Forecast) -> dict[str, Any]:
    """A forecast as JSON for programs; memory and disk in bytes."""
    found = row.estimate
    return {
        "preset": row.name,
        "model": row.model.name,
        "parameters": row.model.parameters,
        "shapes_from": row.model.source,
        "trained": found.trainable.parameters,
        "hardware": str(row.machine),
        "verdict": found.verdict,
        "peak": found.moment,
        "gpu": asdict(found.gpu),
        "host": asdict(found.host),
        "parts": [
            {"name": part.name, "where": part.where, "bytes": part.bytes, "note": part.note}
            for part in found.parts
        ],
        "checkpoint": found.checkpoint,
        "disk": found.disk,
        "effective_batch": row.effective_batch,
        "steps_per_epoch": row.steps(1),
        "steps": row.steps(),
        "assumptions": list(found.assumptions),
    }


def _parts(row: Forecast, where: str, title: str, total: Range) -> None:
    lines = [
        [part.name, size_text(part.bytes), part.note] for part in row.estimate.parts if part.where == where
    ]
    typer.echo()
    between = f"expected; from {size_text(total.low)} to {size_text(total.high)}"
    lines.append(["in all", size_text(total.expected), between])
    print_table([title, "size", "what"], lines, prose=(title, "what"))


def _verdict(row: Forecast) -> str:
    found = row.estimate
    there = []
    if not row.machine.is_cpu:
        there.append(f"each GPU has {size_text(row.machine.gpu_memory)}")
    if row.free is not None:
        there.append(f"{size_text(row.free)} of host memory are free")
    told = f": {', '.join(there)}" if there else ", as far as that can be told: host memory was not looked at"
    return f"{WORDS[found.verdict]}{told}"


def _steps(row: Forecast) -> str:
    batch, accumulation, processes = row.batch
    made = f"batch {batch} x accumulation {accumulation} x processes {processes}"
    rows = f"{counted(row.effective_batch, 'row')} ({made})"
    each, total = row.steps(1), row.steps()
    if total is None:
        return f"steps of {rows}; how many, the data does not tell"
    return f"{counted(total, 'step')} of {rows}" + (f", {each} an epoch" if each is not None else "")


def span(found: Range) -> str:
    return f"{size_text(found.expected)} ({size_text(found.low)} to {size_text(found.high)})"
