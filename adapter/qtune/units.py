"""How amounts read: bytes in decimal units, parameters in millions and billions, and how many of a thing."""

from __future__ import annotations

GIB = 2**30
"""Bytes of a GiB, in which torch and drivers tell the memory of a GPU."""


def size_text(size: float) -> str:
    """Bytes; kB are 10³ of them, MB 10⁶ and GB 10⁹."""
    for unit in ("bytes", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def count_text(count: int) -> str:
    """Parameters, as models are named by them: `1.54B`, `494.03M`."""
    return f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.2f}M"


def counted(number: float, one: str, many: str | None = None) -> str:
    """`1 row`, `2,000 rows`, `1.5 epochs`, `2 processes`.

    many: what is said of more than one, where that is not `one` with its ending: `3 rows are`.
    """
    if number == 1:
        return f"1 {one}"
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {many or one + ('es' if one.endswith('s') else 's')}"
