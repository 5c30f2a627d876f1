"""`data preview`: rows as the model will see them."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.data.group import ALONE
from qtune.cli.data.token_view import legend, marked
from qtune.cli.output import note, print_json, report
from qtune.cli.terminal import echo
from qtune.errors import ChildFailed
from qtune.units import counted
from qtune.values import Finding

if TYPE_CHECKING:
    from qtune.data.flaws import Flaw
    from qtune.use.preview import Sample, TokenSequence


@command("data preview", "qtune data preview answers", "qtune data preview answers --preset dpo")
def preview_command(
    name: options.DatasetName,
    count: Annotated[int, typer.Option("-k", min=1, help="How many rows.")] = 3,
    preset: options.ForPreset = None,
    model: options.Model = None,
    assignments: options.Assignments = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Random rows, instead of the first ones.")] = None,
    as_json: options.Json = False,
) -> None:
    """Show rows as text with the model's chat template: what is trained on, and what is masked.

    LLaMA-Factory itself makes the tokens, of these rows alone, as a training by the preset would.
    """
    from qtune.data.registrations import registered
    from qtune.data.token_cache import token_arguments
    from qtune.machine.hardware import detect_hardware
    from qtune.prepare import renderings
    from qtune.use.preview import preview

    project = here()
    registration = registered(project, name)
    settings = [*(assignments or []), *ALONE, "max_samples=null", "val_size=null"]
    layers = options.override_layers(model, name, settings)
    prepared = renderings.examine(project, preset, detect_hardware(), layers)
    about_tokens = {*token_arguments(), "dataset"}
    errors = [finding for finding in prepared.errors if _concerns(finding, about_tokens)]
    if errors:
        report(errors)
        raise typer.Exit(2)

    def tell(file: Path, line: int, flaw: Flaw) -> None:
        note(f"{os.path.relpath(file)}:{line}: {flaw.message}; `qtune data check {name}` tells more")

    note("asking LLaMA-Factory, which takes a while to load")
    try:
        samples = preview(registration, prepared.config, project.root, count, seed, tell)
    except ChildFailed as error:
        fix = f"mend what it names; `qtune data check {name}` finds rows that it would fail on"
        raise ChildFailed(f"{error}\n  fix: {fix}") from None
    if as_json:
        print_json([asdict(sample) for sample in samples])
        return
    note(legend())
    for sample in samples:
        _print(sample)
    train = prepared.config.block("train")
    if train.get("packing", train.get("stage") == "pt") or train.get("neat_packing"):
        note(f"packing: a training joins rows like these into sequences of {train.get('cutoff_len', 2048)}")


def _concerns(finding: Finding, keys: set[str]) -> bool:
    """Whether a finding is about the data, what makes tokens of it, or an option, not about the training."""
    from qtune.config.resolve import SET_LAYER
    from qtune.data.registrations import LAYER

    return finding.key in keys or (finding.origin is not None and finding.origin.layer in (LAYER, SET_LAYER))


def _print(sample: Sample) -> None:
    place = os.path.relpath(sample.file) + f":{sample.line}"
    judged = "" if sample.good is None else f", judged {'good' if sample.good else 'bad'}"
    if sample.error is not None:
        _head(place, f"LLaMA-Factory fails on this row, which ends a training: {sample.error}")
    elif not sample.sequences:
        _head(place, "LLaMA-Factory leaves this row out")
    for sequence in sample.sequences:
        named = f", {sequence.name}" if sequence.name else ""
        _head(f"{place}{named}{judged}", _numbers(sequence))
        echo("".join(marked(text, trained) for text, trained in sequence.pieces))
    typer.echo()


def _head(place: str, says: str) -> None:
    echo(f"{place}: {says}", bold=True)


def _numbers(sequence: TokenSequence) -> str:
    cut = f", cut by cutoff_len from {sequence.whole}" if sequence.tokens < sequence.whole else ""
    return f"{counted(sequence.tokens, 'token')}, {sequence.trained} trained{cut}"
