"""Which programs read an exported model: readers.yaml beside this has the tables and their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qtune.files import read_object, table_beside

TABLE: Mapping[str, list[str]] = table_beside(__file__, "readers.yaml")


@dataclass(frozen=True)
class Readers:
    """Who reads the model of a config.json, as far as it is known.

    model_type, architecture: its own, empty where it names none; transformers_4: 4.57 was seen to read such a
    model as 5 does; ollama: its converter takes it.
    """

    model_type: str
    architecture: str
    transformers_4: bool
    ollama: bool

    @classmethod
    def of(cls, directory: Path, *, quantised: bool) -> Readers:
        """quantised: with GPTQ, which nobody but transformers 5 was seen to read."""
        config = read_object(directory / "config.json")
        model_type, [architecture, *_] = config.get("model_type", ""), config.get("architectures") or [""]
        return cls(
            model_type,
            architecture,
            model_type in TABLE["transformers_4"] and not quantised,
            architecture in TABLE["ollama"] and not quantised,
        )
