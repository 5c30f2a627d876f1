"""The rows of JSON files: a row on each line, or one array.

datasets/packaged_modules/json reads lines with pyarrow, and what pyarrow refuses, an array that is, with
pandas.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qtune.data.opening import open_data
from qtune.data.reading.array_rows import array_blocks
from qtune.data.reading.block import Block
from qtune.data.reading.encodings import BOM
from qtune.data.reading.line_rows import line_blocks

_HEAD_BYTES = 4096


def json_blocks(path: Path) -> Iterator[Block]:
    """What the text begins with decides how it is read, not the file's suffix."""
    with open_data(path) as stream:
        head = stream.read(_HEAD_BYTES).removeprefix(BOM)
        while head.isspace():
            head = stream.read(_HEAD_BYTES)
    return array_blocks(path) if head.lstrip().startswith(b"[") else line_blocks(path)
