"""What a line of output may be: how wide, in colours or not, and where it is broken."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO
from unicodedata import combining, east_asian_width

import typer

_COLUMNS = 80
"""Of a terminal that does not tell."""

# Signs of two columns, between which Chinese, Japanese and Korean text may be broken; some end a phrase.
_WIDE = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\U00020000-\U0003fffd"
_ENDS = "、。》」』】！），：；？"
# A word; what stands in backquotes is to be typed, and stays on one line.
_UNIT = rf"[{_WIDE}][{_ENDS}]*|(?:`[^`\n]*`|[^\s{_WIDE}])+"


def room(stream: TextIO) -> int | None:
    """The columns of a line: what COLUMNS says, else the terminal's; None where it may be of any length."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
    except OSError:
        return _COLUMNS


def colours() -> bool | None:
    """Whether the environment wants colours; None where it leaves that to the stream, a terminal or not.

    no-color.org, force-color.org and bixense.com/clicolors.
    """
    get = os.environ.get
    if get("NO_COLOR"):
        return False
    if any(get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return False if get("TERM") == "dumb" or get("CLICOLOR") == "0" else None


def echo(text: str, *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print a text that is styled, or is made so here: `fg="red", bold=True`."""
    typer.echo(typer.style(text, **style) if style else text, err=err, nl=nl, color=colours())


def say(text: str, *, err: bool = False, indent: int = 0, later: int = 2) -> None:
    """Print prose: on a terminal each line of it is broken between words where the terminal ends.

    indent, later: the blanks before each line, and before what goes on with it.
    """
    typer.echo(folded(text, err=err, indent=indent, later=later), err=err)


def folded(text: str, *, err: bool = False, indent: int = 0, later: int = 2) -> str:
    """The text as `say` prints it; elsewhere than on a terminal its lines stay whole, for programs."""
    stream = sys.stderr if err else sys.stdout
    width = room(stream) if stream.isatty() else None
    return "\n".join(
        part for line in text.split("\n") for part in _folded_line(" " * indent + line, width, " " * later)
    )


def _folded_line(line: str, width: int | None, later: str) -> Iterator[str]:
    if width is None or width_of(line) <= width:
        yield line
        return
    body = line.lstrip(" ")
    start = line[: len(line) - len(body)]
    for part in wrapped(body, width, first=len(start), later=len(later)):
        yield start + part
        start = later


def width_of(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese signs take two."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def longest_word(text: str) -> int:
    """The width below which a text cannot be broken between words."""
    return max(map(width_of, re.findall(_UNIT, text)), default=0)


def wrapped(text: str, width: int, *, first: int = 0, later: int = 0) -> Iterator[str]:
    """The text broken between words into lines of `width` columns; a word that has no room in one stands out.

    first, later: how many columns of the first line and of the later ones are taken already.
    """
    line, taken, end = "", first, 0
    for unit in re.finditer(_UNIT, text):
        gap = text[end : unit.start()] if line else ""
        end = unit.end()
        more = width_of(unit[0])
        if line and taken + len(gap) + more > width and taken + len(gap) > later:
            yield line
            line, taken, gap = "", later, ""
        line += gap + unit[0]
        taken += len(gap) + more
    yield line
