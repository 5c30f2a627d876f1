"""Shows a recommendation: as a table, as JSON, and as the command to run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import typer

from qtune.advice.candidates import Field
from qtune.advice.choices import Choice
from qtune.advice.reasons import reason
from qtune.advice.recommend import Room, speed_text
from qtune.advice.remedies import Remedy
from qtune.checks.datasets import DEMO
from qtune.cli.output import note
from qtune.cli.plan.estimate_view import tell_experts
from qtune.cli.table import print_table
from qtune.cli.terminal import say
from qtune.machine.hardware import Hardware
from qtune.predict.models.shapes import Model
from qtune.units import count_text, counted, size_text


@dataclass(frozen=True)
class Recommendation:
    """What `recommend` found.

    choices: best first; remedies: what would help the nearest one where none fits for certain.
    """

    model: Model
    hardware: Hardware
    room: Room
    field: Field
    choices: tuple[Choice, ...]
    remedies: tuple[Remedy, ...]

    @property
    def first(self) -> Choice | None:
        return self.choices[0] if self.choices and self.choices[0].verdict == "fits" else None


def command_for(
    choice: Choice,
    saved_as: str | None,
    options: tuple[str | None, str | None, str | None],
    settings: Sequence[str],
) -> str:
    """The command that trains a choice; for other hardware, the one that renders it.

    saved_as: the preset that holds it by now; options: --model, --dataset, --hardware as they were given;
    settings: --set.
    """
    model, dataset, hardware = options
    words = ["qtune", "train" if hardware is None else "render", saved_as or choice.name]
    for option, value in (("-m", model), ("-d", dataset), ("--hardware", hardware)):
        words += [] if value is None else [option, value]
    if saved_as is None:
        settings = [*settings, *(f"{path[-1]}={value}" for path, value in choice.settings.items())]
    for setting in settings:
        words += ["-s", setting]
    return shlex.join(words)


def show(found: Recommendation, command: str, *, wide: bool = False) -> None:
    """Print the table, and what to do."""
    model, machine, room = found.model, found.hardware, found.room
    free = "" if room.host is None else f", {size_text(room.host)} of host memory free"
    size = f"{count_text(model.parameters)} parameters"
    say(f"{model.name}, {size}, stage {found.field.stage}, on {machine.described}{free}")
    if (rows := found.field.rows) is not None:
        estimated = "" if rows.certain else " (an estimate)"
        say(f"its rows are of up to {counted(rows.longest, 'token')}{estimated}")
    if found.choices:
        print_table(*_table(found), leaving=("host at most", "batch", "speed"), wide=wide)
        width = max(len(choice.name) for choice in found.choices) + 2
        for choice in found.choices:
            say(f"{choice.name:<{width}}{reason(choice, found.choices)}", later=width)
        typer.echo()
    for why in dict.fromkeys(found.field.unsuitable.values()):
        names = [name for name, its in found.field.unsuitable.items() if its == why]
        say(f"not for this: {', '.join(names)} ({why})")
    if found.first is not None:
        typer.echo(command)
    elif not found.choices:
        say("no preset suits this model, data and machine")
    else:
        _show_remedies(found)
    tell_experts((choice.config, model) for choice in found.choices)
    if room.host is None:
        note(f"only GPU memory counts: what host memory and disk {machine} has free is not known here")
    dataset = found.choices[0].config.get("train", "dataset") if found.choices else None
    if found.choices and (dataset is None or (dataset == DEMO and rows is None)):
        lacking = "no dataset is named yet" if dataset is None else "the demo's rows are not weighed"
        note(f"{lacking}: `qtune data add FILE` registers yours, -d NAME names it")


def _table(found: Recommendation) -> tuple[list[str], list[list[str]]]:
    """Columns and rows; those of GPU memory only where there are GPUs."""
    columns = {
        "preset": [choice.name for choice in found.choices],
        "verdict": [choice.verdict for choice in found.choices],
        "speed": [speed_text(choice, found.choices) for choice in found.choices],
        "batch": [f"{choice.batch} × {choice.accumulation}" for choice in found.choices],
        "GPU at most": [size_text(choice.estimate.gpu.high) for choice in found.choices],
        "host at most": [size_text(choice.estimate.host.high) for choice in found.choices],
    }
    if found.hardware.is_cpu:
        del columns["GPU at most"]
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def _show_remedies(found: Recommendation) -> None:
    nearest = found.choices[0]
    how = (
        "may just fit" if nearest.verdict == "tight" else f"needs {nearest.shortfall:.1f} times what there is"
    )
    say(f"nothing fits for certain; the nearest, {nearest.name}, {how}")
    for remedy in found.remedies:
        settings = "".join(f" -s {setting}" for setting in remedy.settings)
        say(f"it fits with {remedy.text}{settings and f':{settings}'}")


def plain(found: Recommendation, command: str) -> dict[str, Any]:
    """A recommendation as JSON for programs; memory in bytes, `speed` in words (recommend.SPEEDS)."""
    rows = found.field.rows
    return {
        "model": found.model.name,
        "parameters": found.model.parameters,
        "hardware": str(found.hardware),
        "free": {"host": found.room.host, "disk": found.room.disk},
        "stage": found.field.stage,
        "rows": None if rows is None else {"looked_at": rows.lengths.total(), "longest": rows.longest},
        "recommended": None if found.first is None else found.first.name,
        "command": None if found.first is None else command,
        "presets": [
            {
                "preset": choice.name,
                "verdict": choice.verdict,
                "speed": speed_text(choice, found.choices),
                "per_device_train_batch_size": choice.batch,
                "gradient_accumulation_steps": choice.accumulation,
                "effective_batch": choice.effective_batch,
                "cutoff_len": choice.config.get("train", "cutoff_len"),
                "gpu": None if found.hardware.is_cpu else asdict(choice.estimate.gpu),
                "host": asdict(choice.estimate.host),
                "disk": choice.estimate.disk,
                "reason": reason(choice, found.choices),
            }
            for choice in found.choices
        ],
        "unsuitable": dict(found.field.unsuitable),
        "remedies": [{"text": remedy.text, "set": list(remedy.settings)} for remedy in found.remedies],
    }
