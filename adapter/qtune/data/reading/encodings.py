"""Compression and text encodings of data files, told from their bytes."""

from __future__ import annotations

import codecs
from contextlib import suppress
from dataclasses import replace

from qtune.data.flaws import Effect, Flaw

BOM = codecs.BOM_UTF8
_PACKED = {
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}


def packed(head: bytes) -> Flaw | None:
    """Whether the file is compressed in a way that `qtune.data.opening` does not read through.

    `datasets` unpacks zip files, and the others where their libraries are installed (utils/file_utils.py).
    """
    for magic, name in _PACKED.items():
        if head.startswith(magic):
            return Flaw.of("packed", program=name)
    return None


def wide(head: bytes) -> Flaw | None:
    """Whether the text is UTF-16 or UTF-32: by its byte-order mark, or a zero in its first character."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head[:4]:
        return Flaw.of("encoding-wide")
    return None


def as_utf8(text: str) -> tuple[str, Flaw | None]:
    """Text that was decoded with `surrogateescape`, without what is not UTF-8, and the flaw that this is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        line = text.encode(errors="surrogateescape")
        return line.decode(errors="replace"), misencoded(line, "refused")
    return text, None


def misencoded(line: bytes, effect: Effect) -> Flaw:
    """For a line that is not UTF-8."""
    hint = ""
    with suppress(UnicodeDecodeError):
        line.decode("gb18030")
        hint = ": it reads as GBK (iconv -f GB18030 -t UTF-8)"
    return replace(Flaw.of("encoding", hint=hint), effect=effect)
