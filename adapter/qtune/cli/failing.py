"""How a training that failed is told of."""

from __future__ import annotations

from collections.abc import Mapping


def told(reason: str | None, failure: Mapping[str, str] | None) -> str:
    """The reason that a record holds, and cause and fix below it where the failure is known."""
    lines = [str(reason), *(f"  {part}: {(failure or {})[part]}" for part in ("cause", "fix") if failure)]
    return "\n".join(lines)
