"""The one error a user sees."""

from __future__ import annotations

import re

# Control characters but for tabs and line breaks, and what no text file can hold.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """Text that gives a terminal no orders: escapes stand for its control characters."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


class QtuneError(Exception):
    """A request that cannot be carried out: what is wrong, where, and what to do.

    `where` is a file, `file:line`, or an argument's name; the command line adds no traceback to it and
    ends with exit code 2, so raise it only before anything was started or written.
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return printable(f"{text}\n  fix: {self.fix}" if self.fix else text)


class ChildFailed(Exception):
    """A program that qtune started ended with a failure; the command line ends with exit code 1."""
