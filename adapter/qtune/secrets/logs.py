"""Taking secrets out of a log of any size, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from qtune.files import write_together
from qtune.secrets.text import spans, without

_BLOCK = 1 << 20
_LONGEST = 1 << 14  # of a secret; a JSON web token has some thousand characters


def clean(log: Path, secrets: Sequence[str]) -> None:
    """Take what is secret out of a log that nobody writes to any more; it is written anew only then."""
    if not log.is_file():
        return
    # Latin-1 has a character for each byte, so that nothing else changes
    given = [secret.encode().decode("latin-1") for secret in secrets]
    with log.open("rb") as stream:
        if not any(spans(piece, given) for piece in _pieces(stream, given)):
            return
        stream.seek(0)
        with suppress(OSError), write_together(log) as (cleaned,):
            for piece in _pieces(stream, given):
                cleaned.write(without(piece, given).encode("latin-1"))


def _pieces(stream: BinaryIO, secrets: Sequence[str]) -> Iterator[str]:
    """The text, about a megabyte at a time, cut nowhere within a secret."""
    reach = max([_LONGEST, *map(len, secrets)])
    rest = ""
    while block := stream.read(_BLOCK):
        text = rest + block.decode("latin-1")
        cut = max(0, len(text) - reach)
        window = max(0, cut - reach)
        for span in reversed(spans(text[window:], secrets)):
            if window + span.known_from < cut < window + span.known_to:
                cut = window + span.known_from
        if not cut and len(text) > _BLOCK + reach:
            cut = len(text)  # all of it one secret
        yield text[:cut]
        rest = text[cut:]
    yield rest
