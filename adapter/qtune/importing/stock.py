"""Files of LLaMA-Factory's repository that configs name, and that its package does not hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from qtune.files import table_beside


@dataclass(frozen=True)
class StockFile:
    """What a file under the repository's examples/ says.

    display: its name, in words; by_path: whether it was named by its path there, else by its name alone, so
    that a copy could say something else.
    """

    content: Mapping[str, Any]
    display: str
    by_path: bool


def stock_file(folder: Literal["deepspeed", "accelerate"], path: str) -> StockFile | None:
    """The file of examples/`folder` with the name that `path` ends in; None where there is none."""
    *above, name = re.split(r"[\\/]", path)
    content = _table()[folder].get(name)
    if content is None:
        return None
    display = f"LLaMA-Factory {_table()['release']}'s own {name}"
    return StockFile(content, display, above[-1:] == [folder] and "examples" in above)


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = table_beside(__file__, "stock.yaml")
    return table
