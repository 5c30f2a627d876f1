"""What typer refuses of a command line, said as every other error is."""

from __future__ import annotations

import sys
from typing import Any

import typer

from qtune.config.names import quoted
from qtune.errors import QtuneError

UsageError: Any = typer.BadParameter.__mro__[1]
"""click's, of which newer releases of typer bring a copy of their own."""


def told(error: Any) -> QtuneError:
    """A UsageError of typer as qtune's: what is wrong, where, and what to do."""
    context = error.ctx
    command = context.command_path if context else "qtune"
    fix = f"`{command} -h` shows how it is called"
    match type(error).__name__:
        case "NoSuchOption":
            from qtune.cli.old_habits import in_qtunes_words

            if habit := in_qtunes_words(sys.argv[1:]):
                return QtuneError(f"there is no option `{error.option_name}`", fix=habit)
            near = f"did you mean {quoted(error.possibilities)}? " if error.possibilities else ""
            return QtuneError(f"there is no option `{error.option_name}`", fix=near + fix)
        case "MissingParameter":
            return QtuneError(f"{_name(error)} is missing", fix=fix)
        case "BadOptionUsage":
            takes = "takes no value" if "does not take" in error.message else "needs a value"
            return QtuneError(takes, where=error.option_name, fix=fix)
        case "BadParameter":
            return QtuneError(error.message.rstrip("."), where=_name(error), fix=fix)
    message = error.format_message().rstrip(".")
    return QtuneError(message[:1].lower() + message[1:], fix=fix)


def _name(error: Any) -> str:
    """The option or argument that a BadParameter is about."""
    if error.param_hint is not None or error.param is None:
        return str(error.param_hint or "an argument").strip("'")
    return str(error.param.get_error_hint(error.ctx)).replace("'", "")
