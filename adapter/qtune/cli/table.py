"""Prints tables that a terminal of any width can show."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, zip_longest

import typer

from qtune.cli.output import note
from qtune.cli.terminal import echo, longest_word, room, width_of, wrapped

_GAP = "  "
_READABLE = 20
"""Columns for prose: in fewer it becomes a tower of words."""
_NARROWEST = 8


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    prose: Collection[str] = (),
    leaving: Sequence[str] = (),
    headings: Sequence[str] | None = None,
    wide: bool = False,
) -> None:
    """Print a table as wide as the terminal or COLUMNS; where neither is, as in a file, a row a line.

    columns: their names, no two alike; prose: those whose cells may be broken between words; leaving: those
    that may be left out where there is no room, the first of them first; headings: for each row what it
    stands under; wide: whether all columns are wanted, whatever the room.

    rich draws nicer ones, and takes longer to load than most commands to run.
    """
    cells = dict(zip(columns, zip(*rows, strict=True) if rows else [()] * len(columns), strict=True))
    widths = {name: max(map(width_of, (name, *column))) for name, column in cells.items()}
    limit = None if wide else room(sys.stdout)
    gone = []
    if limit is not None and _taken(widths.values()) > limit:
        least = {name: _least(name, column, name in prose) for name, column in cells.items()}
        for name in (name for name in leaving if name in cells):
            if _taken(least.values()) <= limit:
                break
            gone.append(name)
            del least[name]
        widths = _fitted({name: widths[name] for name in least}, least, cells, prose, limit)
    for line in _lines(widths, list(widths.values())):
        echo(line, bold=True)
    typer.echo(_GAP.join("─" * width for width in widths.values()))
    shown = list(zip(*(cells[name] for name in widths), strict=True))
    if rows:  # at once: each echo flushes
        echo("\n".join(_body(shown, list(widths.values()), headings)))
    if gone:
        note(f"left out for want of room: {', '.join(gone)}; --wide prints them")


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table as Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _taken(widths: Collection[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _least(name: str, cells: Iterable[str], is_prose: bool) -> int:
    """The width in which a column can still be read; its name may be broken between words."""
    whole = max(map(width_of, cells), default=0)
    words = max(map(longest_word, cells), default=0)
    return max(longest_word(name), min(whole, max(words, _READABLE)) if is_prose else whole)


def _fitted(
    widths: Mapping[str, int],
    least: Mapping[str, int],
    cells: Mapping[str, Sequence[str]],
    prose: Collection[str],
    limit: int,
) -> dict[str, int]:
    """The widths taken down to the limit: to what can be read, then to whole words, then to pieces of them.

    Names, which stand in the first column, are never broken.
    """
    words = {name: max(map(longest_word, (name, *cells[name]))) for name in widths}
    first = next(iter(widths))
    if first not in prose:
        words[first] = least[first]
    pieces = {name: word if name == first else min(word, _NARROWEST) for name, word in words.items()}
    for lowest in (least, words, pieces):
        widths = _narrowed(widths, lowest, limit)
    return dict(widths)


def _narrowed(widths: Mapping[str, int], least: Mapping[str, int], limit: int) -> dict[str, int]:
    """The widths with the widest taken down, one by one, until the row fits or each is at its least."""
    found = dict(widths)
    while _taken(found.values()) > limit:
        width, name = max((width * (width > least[name]), name) for name, width in found.items())
        if width == 0:
            break
        found[name] -= 1
    return found


def _body(
    rows: Sequence[Sequence[str]], widths: Sequence[int], headings: Sequence[str] | None
) -> Iterator[str]:
    """The lines of all rows, with a heading above those that share it."""
    if headings is None:
        for row in rows:
            yield from _lines(row, widths)
        return
    groups = groupby(zip(headings, rows, strict=True), key=lambda pair: pair[0])
    for number, (heading, below) in enumerate(groups):
        if number:
            yield ""
        yield typer.style(f"{heading}:", bold=True)
        for _, row in below:
            yield from _lines(row, widths)


def _lines(cells: Iterable[str], widths: Sequence[int]) -> Iterator[str]:
    """A row's lines."""
    broken = [list(_cell_lines(cell, width)) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*broken, fillvalue=""):
        padded = (part + " " * (width - width_of(part)) for part, width in zip(parts, widths, strict=True))
        yield _GAP.join(padded).rstrip()


def _cell_lines(cell: str, width: int) -> Iterator[str]:
    if width_of(cell) <= width and "\n" not in cell:
        yield cell
        return
    for line in cell.splitlines():
        for part in wrapped(line, width):
            yield from _pieces(part, width)


def _pieces(word: str, width: int) -> Iterator[str]:
    """A word that is wider than its column, cut."""
    while width_of(word) > width:
        end = max(1, next(end for end in range(len(word)) if width_of(word[: end + 1]) > width))
        yield word[:end]
        word = word[end:]
    yield word
