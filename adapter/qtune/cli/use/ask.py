"""`ask`: one question, one answer."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from qtune.cli import options
from qtune.cli.app import here
from qtune.cli.commands import command
from qtune.cli.output import left_out, note, print_json
from qtune.errors import QtuneError

if TYPE_CHECKING:
    from qtune.use.ask import Answer
    from qtune.use.models import Trained


@command("ask", 'qtune ask lora "Who are you?"', 'qtune ask lora "Who are you?" --compare')
def ask_command(
    run: Annotated[str, options.run_argument("A run's name, or its directory.", "RUN")],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The question; - reads it from stdin.")],
    system: Annotated[str | None, typer.Option(help="The system prompt, for this question.")] = None,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Ask the untouched model too, and show both answers side by side."),
    ] = False,
    base: options.Base = False,
    checkpoint: options.Checkpoint = None,
    assignments: options.Settings = None,
    backend: options.Backend = None,
    as_json: options.Json = False,
) -> None:
    """Ask a trained model one question, for scripts: the answer alone goes to stdout.

    The library samples: `-s do_sample=false` gives the same answer each time.
    """
    from qtune.use.ask import ask
    from qtune.use.infer import infer_config
    from qtune.use.models import find
    from qtune.use.speech import require_speech

    project = here()
    if compare and base:
        raise QtuneError("asks the untouched model anyway", where="--compare", fix="leave --base out")
    asked = [find(project, run, checkpoint=checkpoint, base=base, left_out=left_out)]
    if compare:
        asked.insert(0, find(project, run, base=True))
    for trained in asked:
        require_speech(trained)
    models = [infer_config(trained, assignments or (), backend) for trained in asked]
    question = sys.stdin.read() if prompt == "-" else prompt
    if not question.strip():
        raise QtuneError("there is no question", where="PROMPT", fix="give it as text, or on stdin with -")
    note(f"loading {' and '.join(trained.title for trained in asked)}")
    answers = ask(models, question, system, project.root)
    for trained, answer in zip(asked, answers, strict=True):
        if answer.finish_reason == "length":
            note(f"note: {trained.title}: cut off at max_new_tokens; `-s max_new_tokens=N` allows more")
    if as_json:
        plain = [_plain(trained, answer) for trained, answer in zip(asked, answers, strict=True)]
        print_json(plain if compare else plain[0])
    elif compare:
        _print_beside([trained.title for trained in asked], [answer.text for answer in answers])
    else:
        typer.echo(answers[0].text)


def _plain(trained: Trained, answer: Answer) -> dict[str, object]:
    return {
        "run": trained.name,
        "base": trained.weights is None,
        "checkpoint": trained.checkpoint,
        **asdict(answer),
    }


def _print_beside(titles: list[str], texts: list[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold", ratio=1)
    table.add_row(*texts)
    width = None if sys.stdout.isatty() else 160
    Console(width=width, markup=False, highlight=False).print(table)
