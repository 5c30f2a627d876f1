"""How a command that starts another one is written: where its own words end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePath

from qtune.files import table_beside
from qtune.importing.scripts.shell import Word

Option = tuple[str, Word | None]
"""An option's name as it is written, and its value, None where it takes none."""


@dataclass(frozen=True)
class Form:
    """A row of wrappers.yaml, whose words these are; group: the block that it stands in."""

    group: str
    takes: frozenset[str]
    flags: frozenset[str]
    skips: int = 0
    text: bool = False

    def has_value(self, name: str) -> bool:
        """Whether the next word belongs to this option."""
        if not self.flags:
            return name in self.takes
        letters = {f"-{letter}" for letter in name[1:]} if not name.startswith("--") else {name}
        return not letters <= self.flags

    def options(self, words: Sequence[Word], at: int) -> tuple[list[Option], int]:
        """The options from there on, and the index of the first word after them."""
        found: list[Option] = []
        while at < len(words) and words[at].text.startswith("-") and words[at].text != "-":
            word, at = words[at], at + 1
            text = word.text
            if text == "--":
                break
            long, equals, value = text.partition("=")
            if equals and text.startswith("--"):
                found.append((long, replace(word, text=value)))
            elif self.has_value(text) and (text.startswith("--") or len(text) == 2 or text in self.takes):
                found.append((text, words[at] if at < len(words) else None))
                at += 1
            elif len(text) > 2 and text[1] != "-" and self.has_value(text[:2]):
                found.append((text[:2], replace(word, text=text[2:])))
            else:
                found.append((text, None))
        return found, at


def form_of(words: Sequence[Word]) -> tuple[str, Form | None, int]:
    """(the name, of up to three words; its form where it starts another command; the index after it)."""
    texts = [PurePath(words[0].text).name, *(word.text for word in words[1:3])]
    for count in range(len(texts), 0, -1):
        name = " ".join(texts[:count])
        if name in _forms():
            return name, _forms()[name], count
    return texts[0], None, 1


@cache
def _forms() -> Mapping[str, Form]:
    return {
        name: Form(
            group,
            frozenset(row.get("takes", "").split()),
            frozenset(row.get("flags", "").split()),
            row.get("skips", 0),
            row.get("text", False),
        )
        for group, rows in table_beside(__file__, "wrappers.yaml").items()
        for name, row in rows.items()
    }
