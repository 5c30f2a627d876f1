"""What a row of the table of failures is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that is known: how it is recognised, where it comes from, what to do.

    patterns: regular expressions, of which one is found in a line of the child's output; none where qtune
    notices it by other means. cause and fix may name their groups, as {name}.
    source: who says so, or where the words stand: the library's file, or a thread (#n: LLaMA-Factory's).
    words: what the record says of it, where qtune notices it itself.
    out_of_memory: whether a smaller step of the training may help.
    follows: what the other processes say when one has failed: told where nothing else is known.
    """

    id: str
    patterns: tuple[str, ...]
    cause: str
    fix: str
    source: str
    words: str = ""
    out_of_memory: bool = False
    follows: bool = False
