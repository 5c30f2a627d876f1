"""Other toolkits' names for LLaMA-Factory's arguments: the table aliases.yaml."""

from __future__ import annotations

from collections.abc import Mapping

from qtune.files import table_beside


def aliases() -> Mapping[str, str]:
    """LLaMA-Factory's name by the other one."""
    names: Mapping[str, str] = table_beside(__file__, "aliases.yaml")
    return names
