"""Marks in a text as the model sees it what the model is trained on."""

from __future__ import annotations

import sys

import typer

from qtune.cli.terminal import colours

# A row's own control characters would move the cursor or change colours.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def in_colour() -> bool:
    """Whether colours mark it, rather than brackets."""
    wanted = colours()
    return sys.stdout.isatty() if wanted is None else wanted


def legend() -> str:
    return "trained text is green, masked text is dim" if in_colour() else "trained text stands in [[ ]]"


def marked(text: str, trained: bool) -> str:
    shown = text.translate(_CONTROLS)
    if not in_colour():
        return f"[[{shown}]]" if trained else shown
    return typer.style(shown, fg="green") if trained else typer.style(shown, dim=True)
