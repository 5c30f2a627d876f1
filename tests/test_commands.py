"""The table of commands says what each command's own module says, and every example can be typed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer
from trees import loaded

from qtune.cli.app import app
from qtune.cli.commands import COMMANDS, load

SHOWN = [words for words, (_, about) in COMMANDS.items() if about]


def examples(words: str) -> list[str]:
    """The lines below `Examples:` of a command's help."""
    _, _, listed = (load(words).epilog or "").partition("Examples:\n")
    return [line.strip() for line in listed.splitlines()]


@pytest.mark.parametrize("words", SHOWN)
def test_the_table_has_the_first_sentence_of_the_help(words: str) -> None:
    first, _, _ = (load(words).help or "").partition("\n\n")
    assert COMMANDS[words][1] == " ".join(first.split())


@pytest.mark.parametrize("words", SHOWN)
def test_a_help_ends_with_two_or_three_examples_that_can_be_typed(words: str) -> None:
    assert 2 <= len(examples(words)) <= 3
    for example in examples(words):
        root = typer.main.get_command(app)
        program, *arguments = shlex.split(example)
        assert program == "qtune"
        # parses the whole line, options and arguments of the last command too, and runs none of it
        context = root.make_context(program, arguments)
        _, command, rest = root.resolve_command(context, [*context._protected_args, *context.args])
        nested = command.make_context(command.name, rest, parent=context)
        if command.name in ("data", "presets") and nested._protected_args:
            _, command, rest = command.resolve_command(nested, [*nested._protected_args, *nested.args])
            command.make_context(command.name, rest, parent=nested)
        assert example.startswith(f"qtune {words}")


@pytest.mark.parametrize("words", list(COMMANDS))
def test_a_hidden_command_is_in_no_list_and_every_other_is(words: str) -> None:
    *above, name = words.split()
    group = load(above[0]) if above else typer.main.get_command(app)
    assert group.commands[name].hidden is (words not in SHOWN)


# Rooms that hold names, choices and constants of which help texts speak.
LIGHT = {"cli", "errors", "files", "resources", "schema", "secrets", "units", "values", "config", "machine"}


def test_a_help_loads_nothing_of_what_it_describes(tmp_path: Path) -> None:
    """One process prints all helps; in the end it has loaded whatever any of them needs."""
    *_, modules = loaded(*([*words.split(), "--help"] for words in COMMANDS), directory=tmp_path)
    rooms = {module.split(".")[1] for module in modules if module.startswith("qtune.")}
    assert rooms <= LIGHT
    assert not {"qtune.machine.stack", "rich", "jinja2"} & modules
