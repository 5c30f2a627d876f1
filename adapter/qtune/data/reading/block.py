"""Some rows of a data file, and what a reader found out about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from qtune.data.flaws import Flaw
from qtune.data.reading.column_values import Values

Form = Literal["lines", "array", "csv", "declared"]
"""Where LLaMA-Factory takes the types of a file's columns from: pyarrow's reading of JSON lines, pandas' of a
JSON array, pandas' of CSV, or the file itself (Parquet, Arrow; text has one column)."""


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of one file.

    rows: objects, as LLaMA-Factory reads them; lines: where each begins, from 1 (in Parquet and Arrow files
    the row's number); flaws: what is wrong with the file at a line, rows that cannot be read among them;
    text: the bytes that the rows were decoded from, which begin at line `begin`, empty unless JSON;
    batch: the number, from 0, of the piece of the file of which LLaMA-Factory infers the columns' types at
    once.
    """

    rows: list[dict[str, Any]]
    lines: Sequence[int]
    flaws: Sequence[tuple[int, Flaw]] = ()
    text: bytes = b""
    begin: int = 1
    batch: int = 0
    form: Form = "declared"
    file: Path = Path()

    @cached_property
    def values(self) -> Values:
        """The rows, to be looked at all at once."""
        return Values(self.rows)
