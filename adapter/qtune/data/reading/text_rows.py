"""The lines of a text file, as datasets/packaged_modules/text reads them."""

from __future__ import annotations

from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from qtune.data.opening import open_data
from qtune.data.reading.block import Block
from qtune.data.reading.encodings import as_utf8

_BLOCK_CHARACTERS = 1 << 20


def text_blocks(path: Path) -> Iterator[Block]:
    """A row with the column `text` for each line, blank ones too."""
    with open_data(path) as raw, TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape") as stream:
        number = 1
        while lines := stream.readlines(_BLOCK_CHARACTERS):
            decoded = [as_utf8(line) for line in lines]
            places = range(number, number + len(lines))
            flaws = [
                (place, flaw) for place, (_, flaw) in zip(places, decoded, strict=True) if flaw is not None
            ]
            yield Block([{"text": text.rstrip("\n")} for text, _ in decoded], places, flaws)
            number += len(lines)
