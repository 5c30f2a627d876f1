"""Characters and control words that hardly anyone means to train on, and placeholders that nothing fills."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qtune.data.attributes import Attributes
from qtune.data.flaws import Flaw
from qtune.data.reading.block import Block
from qtune.data.rows.media import PLACEHOLDERS

_CONTROLS = bytes(code for code in (*range(32), 127) if code not in b"\t\n\r")
_ESCAPED = re.compile(rb"\\(?:[bf]|u(?:00[01]|003[cC]|007[fF]|[fF]{3}[dD]))")
"""How JSON writes them, and the `<` of a placeholder. Fast, because it begins with one certain byte."""


class TextCheck:
    """Flaws of characters and words: dear to look for, and rare, so that a whole block is ruled out first.

    control_words: what the text should not hold, but in the words around a thought.
    """

    def __init__(
        self, names: Attributes, control_words: Sequence[str] = (), thought_words: Sequence[str] = ()
    ) -> None:
        self._columns = names.columns
        self._placeholders = () if names.media else PLACEHOLDERS
        self._words = control_words
        self._thought_words = thought_words
        # also as JSON writes them in ASCII
        spelled = {spelling for word in self._words for spelling in (word, json.dumps(word)[1:-1])}
        written = sorted(word.encode() for word in {*self._placeholders, *spelled})
        self._tags = [word for word in written if word.startswith(b"<")]
        self._others = [word for word in written if not word.startswith(b"<")]

    def suspects(self, block: Block) -> bool:
        """Whether any row of the block may have such a flaw."""
        text = block.text
        return (
            not text
            or (b"\\" in text and _is_escaped(text))
            or b"\x7f" in text
            or (not text.isascii() and b"\xef\xbf\xbd" in text)
            or (b"<" in text and any(word in text for word in self._tags))
            or any(word in text for word in self._others)
        )

    def flaws(self, row: Mapping[str, Any]) -> list[Flaw]:
        texts = "\n".join(text for column in self._columns for text in _texts(row.get(column)))
        written = texts.encode("utf-8", "surrogatepass")
        flaws = []
        if len(written.translate(None, _CONTROLS)) < len(written):
            flaws.append(Flaw.of("control-character"))
        if "\ufffd" in texts:
            flaws.append(Flaw.of("replacement-character"))
        for placeholder in self._placeholders:
            if placeholder in texts:
                column = f"{placeholder.strip('<>')}s"
                flaws.append(Flaw.of("placeholder-alone", placeholder=placeholder, column=column))
        if any(word in texts for word in self._words):
            for word in self._thought_words:
                texts = texts.replace(word, "")
            flaws += [Flaw.of("control-word", word=word) for word in self._words if word in texts]
        return flaws


def _is_escaped(text: bytes) -> bool:
    """LaTeX's `\\\\b` is a backslash and a b, and no control character."""
    return _ESCAPED.search(text) is not None and _ESCAPED.search(text.replace(b"\\\\", b"")) is not None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
