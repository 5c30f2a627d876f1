"""The commands by the words that call them; each is loaded when it runs, and none for a list of them.

A new command is a line here, and a function below `@command` of the same words in the module named here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

_Function = TypeVar("_Function", bound=Callable[..., Any])

COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": (
        "presets.init",
        "Make a project: qtune.yaml, data/ with a demo dataset and its registration, schemas for editors.",
    ),
    "data": ("data.group", "Register, check, measure and preview datasets."),
    "data list": (
        "data.list",
        "List the datasets of data/datasets.yaml: format, source, rows, and whether something is wrong.",
    ),
    "data add": (
        "data.add",
        "Look at data and register it in data/datasets.yaml: format, columns and roles are recognised.",
    ),
    "data check": (
        "data.check",
        "Read every row, and say with file and line what LLaMA-Factory would choke on, drop or misread.",
    ),
    "data stats": (
        "data.stats",
        "Count the tokens of every row as LLaMA-Factory would, and say what follows for cutoff_len and "
        "packing.",
    ),
    "data preview": (
        "data.preview",
        "Show rows as text with the model's chat template: what is trained on, and what is masked.",
    ),
    "data split": (
        "data.split",
        "Split a dataset into two: NAME_train and NAME_eval, new files beside its own, registered like it.",
    ),
    "presets": (
        "presets.presets",
        "List the presets by group, in each those that need the most memory first.",
    ),
    "presets pull": (
        "presets.pull",
        "Fetch the git sources of `presets:` in qtune.yaml, pin them in qtune.lock, and say what changed.",
    ),
    "import": (
        "presets.import_",
        "Turn a config of another shape into a preset: what it says beyond base, in today's names.",
    ),
    "copy": (
        "presets.copy",
        "Start a preset of your own over another one: a file that extends it, with its values to change.",
    ),
    "show": (
        "presets.show",
        "Show a preset's merged config: what it inherits, what the project says, and what `auto` came to.",
    ),
    "diff": (
        "presets.diff",
        "Show what differs between two configs by meaning, ZeRO and datasets included.",
    ),
    "schema": (
        "presets.schema",
        "Print the JSON Schema of presets, qtune.yaml or data/datasets.yaml, for completion in editors.",
    ),
    "check": (
        "presets.check",
        "Say everything that is wrong with presets, project and datasets at once, and how to mend it.",
    ),
    "download": (
        "use.download",
        "Fetch a model or a data set into the hub's own cache, so that trainings need no network.",
    ),
    "doctor": (
        "plan.doctor",
        "Look at this machine: packages, GPUs, compilers, memory, disk, hub; what would fail, and its fix.",
    ),
    "estimate": (
        "plan.estimate",
        "Say what memory a training needs, part by part, whether it fits, and what it writes to disk.",
    ),
    "recommend": (
        "plan.recommend",
        "Rank the presets for this model, data and machine: the fastest that fits first, and why.",
    ),
    "render": (
        "presets.render",
        "Write the rendered directory of a preset and make it the current one, which `qtune train` takes.",
    ),
    "train": (
        "training.train",
        "Train: run llamafactory-cli on the rendered files, keep its log, and record the run.",
    ),
    "resume": (
        "training.resume",
        "Go on with a run that ended early, from its newest complete checkpoint.",
    ),
    "replay": (
        "training.replay",
        "Train what a run recorded once more, in a new run, and say what differs today.",
    ),
    "runs": (
        "training.runs",
        "List the runs, the one that began last below: how far each came, and what became of it.",
    ),
    "watch": (
        "training.watch",
        "Follow a training that runs in the background or at another terminal, to its end.",
    ),
    "stop": (
        "training.stop",
        "Stop a training cleanly, at its next step and with a checkpoint, as Ctrl-C at its terminal does.",
    ),
    "ask": (
        "use.ask",
        "Ask a trained model one question, for scripts: the answer alone goes to stdout.",
    ),
    "chat": (
        "use.chat",
        "Talk to a trained model at this terminal: LLaMA-Factory's own `llamafactory-cli chat`.",
    ),
    "webchat": (
        "use.webchat",
        "Talk to a trained model in a browser, on LLaMA-Factory's own page, until Ctrl-C.",
    ),
    "api": (
        "use.api",
        "Serve a trained model by LLaMA-Factory's own OpenAI-compatible server, until Ctrl-C.",
    ),
    "export": (
        "use.export",
        "Write a trained model as a directory of its own, with an adapter merged into its unquantised base.",
    ),
    "eval": (
        "use.evaluate",
        "Measure what was trained beside its base: loss, perplexity, and answers against their references.",
    ),
    "carry-out": ("training.carry_out", ""),
}
"""In the order of use: (module in qtune.cli, first sentence of its help, none if hidden)."""

_loaded: dict[str, typer.Typer] = {}


class Group(TyperGroup):
    """The commands whose words begin with its own name, or at the root all of a single word."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._words = "" if self.name == "qtune" else f"{self.name} "
        for words, (_, about) in COMMANDS.items():
            name = words.removeprefix(self._words)
            if words.startswith(self._words) and " " not in name:
                self.commands[name] = TyperCommand(name, help=about, hidden=not about)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load(f"{self._words}{command.name}"), rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Every command with the whole sentence, which click would shorten."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, item.help) for name, item in self.commands.items() if not item.hidden])


def plain_typer(**settings: Any) -> typer.Typer:
    """A typer application without rich, which takes longer to load than most commands to run."""
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, **settings)


def load(words: str) -> Any:
    """The command of these words, from its module."""
    import_module(f"qtune.cli.{COMMANDS[words][0]}")
    return typer.main.get_command(_loaded[words])


def command(words: str, *examples: str, hidden: bool = False) -> Callable[[_Function], _Function]:
    """Make a function the command of these words; its help ends with the examples."""

    def register(function: _Function) -> _Function:
        made = plain_typer(add_completion=False)
        made.command(words.split()[-1], epilog=examples_text(*examples), hidden=hidden)(function)
        _loaded[words] = made
        return function

    return register


def group(words: str, *examples: str, **settings: Any) -> Callable[[_Function], _Function]:
    """Make a function the callback of the commands that begin with these words."""

    def register(function: _Function) -> _Function:
        made = plain_typer(name=words, cls=Group, add_completion=False)
        made.callback(epilog=examples_text(*examples), **settings)(function)
        _loaded[words] = made
        return function

    return register


def examples_text(*examples: str) -> str | None:
    """What a help text ends with; None where there are no examples."""
    # click keeps the lines of a paragraph that begins so
    return "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)]) if examples else None
