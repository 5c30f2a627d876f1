"""Opening data files as `datasets` does: a compressed one is read as what is in it, whatever its name is."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

# datasets/utils/file_utils.py, MAGIC_NUMBER_TO_COMPRESSION_PROTOCOL
_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_LONGEST = max(map(len, _OPENERS))

DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
"""What reading a compressed file raises that is cut off or damaged."""


def is_packed(path: Path) -> bool:
    """Whether the file is compressed in a way that is read through."""
    return _opener(path) is not None


def open_data(path: Path) -> IO[bytes]:
    """The content of a data file. Raises OSError where it cannot be opened, DAMAGED while it is read."""
    opener = _opener(path)
    content: IO[bytes] = path.open("rb") if opener is None else opener(path)
    return content


def _opener(path: Path) -> Callable[[Path], Any] | None:
    with path.open("rb") as stream:
        head = stream.read(_LONGEST)
    return next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
