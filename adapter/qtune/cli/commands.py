"""The table of commands by the words that call them. A command's module is loaded when the command runs.

A new command is a line in commands.json, and a function below `@command` of the same words in the module
that the line names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from qtune.config.names import did_you_mean
from qtune.errors import QtuneError

_Function = TypeVar("_Function", bound=Callable[..., Any])

COMMANDS: Mapping[str, tuple[str, str]] = json.loads(Path(__file__).with_name("commands.json").read_bytes())
"""In the order of use: words to the module in qtune.cli and the first sentence of its help; none: hidden."""

_loaded: dict[str, typer.Typer] = {}


class CommandGroup(TyperGroup):
    """The commands whose words begin with its own name, or at the root all of a single word."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._words = "" if self.name == "qtune" else f"{self.name} "
        for words, (_, about) in COMMANDS.items():
            name = words.removeprefix(self._words)
            if words.startswith(self._words) and " " not in name:
                self.commands[name] = TyperCommand(name, help=about, hidden=not about)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            from qtune.cli.old_habits import in_qtunes_words

            near = did_you_mean(args[0], self.commands)
            listed = f"{near + ' ' if near else ''}`{ctx.command_path} -h` lists them"
            fix = (None if self._words else in_qtunes_words(args)) or listed
            raise QtuneError(f"there is no command `{self._words}{args[0]}`", fix=fix)
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


def command(words: str, *examples: str) -> Callable[[_Function], _Function]:
    """Make a function the command of these words; its help ends with the examples."""

    def register(function: _Function) -> _Function:
        made = plain_typer(add_completion=False)
        made.command(words.split()[-1], epilog=examples_text(*examples))(function)
        _loaded[words] = made
        return function

    return register


def group(words: str, *examples: str, **settings: Any) -> Callable[[_Function], _Function]:
    """Make a function the callback of the commands that begin with these words."""

    def register(function: _Function) -> _Function:
        made = plain_typer(name=words, cls=CommandGroup, add_completion=False)
        made.callback(epilog=examples_text(*examples), **settings)(function)
        _loaded[words] = made
        return function

    return register


def examples_text(*examples: str) -> str | None:
    """The end of a help text; None where there are no examples."""
    # click keeps the lines of a paragraph that begins so
    return "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)]) if examples else None
