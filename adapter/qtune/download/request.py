"""The request for a download: what to fetch, from which hub, into which cache."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from qtune.machine.hub import Name

Kind = Literal["model", "dataset"]


@dataclass(frozen=True)
class Request:
    """A model or a data set of a hub.

    endpoint: the hub's address; cache: where its library keeps files; cache_dir: LLaMA-Factory's argument,
    None where the library decides; subset, folder: of a data set, as in its registration.
    """

    id: str
    kind: Kind
    hub: Name
    endpoint: str
    cache: Path
    revision: str = "main"
    cache_dir: str | None = None
    subset: str | None = None
    folder: str | None = None

    @property
    def page(self) -> str:
        """Where a person finds it."""
        folder = "datasets/" if self.kind == "dataset" else "models/" if self.hub == "modelscope" else ""
        return f"{self.endpoint}/{folder}{self.id}"

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "cache": str(self.cache)}
