"""Peaks of GPU memory that others published, read from docs/published, and what the estimate says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml
from published_ways import WAYS

from qtune.machine.hardware import Hardware
from qtune.predict.memory.total import estimate_setting
from qtune.predict.models.find import from_config, load
from qtune.predict.models.shapes import Model

FOLDER = Path(__file__).with_name("published")
NOWHERE = Path("/nowhere")  # models are those of the built-in table, whatever this machine has
UNITS = {"GB": 10**9, "GiB": 2**30, "MiB": 2**20}
MEASURES: Mapping[str, str] = {
    "allocated": "allocated by torch",
    "reserved": "reserved by torch",
    "whole": "of the whole GPU",
}
COMMON = ("unit", "measure", "way", "gpus", "zero", "fsdp", "grows", "card", "incomparable")


@dataclass(frozen=True)
class Published:
    """One published peak.

    what: the training in words. measured: as published, in `unit`. measure: one of MEASURES; `whole` is
    what nvidia-smi shows. way: a key of WAYS. train: LLaMA-Factory's arguments; zero: DeepSpeed's
    `zero_optimization`; grows: whether the allocator grew its segments; card: GiB of each GPU. config: the
    model's config.json where the built-in table lacks it. incomparable: why no prediction can be held against
    it; empty where one can.
    """

    source: str
    what: str
    model: str
    measured: float
    unit: str
    measure: str
    way: str
    train: Mapping[str, Any]
    gpus: int = 1
    zero: Mapping[str, Any] = field(default_factory=dict)
    fsdp: bool = False
    grows: bool = False
    card: float = 80.0
    config: Mapping[str, Any] | None = None
    incomparable: str = ""

    @property
    def bytes(self) -> int:
        """What was measured."""
        return int(self.measured * UNITS[self.unit])

    @cached_property
    def predicted(self) -> tuple[int, int]:
        """(bytes expected, of the kind that was measured; the most to be reckoned with, of allocated ones too
        what may be reserved)."""
        way = WAYS[self.way]
        train = {"bf16": True, **self.train}
        where = {"on_cpu": False, "fsdp": self.fsdp, "grows": self.grows}
        setting = way(way.built(self._model), train, self.zero, self.gpus, **where)
        found = estimate_setting(setting, Hardware(self.gpus, self.card, bf16=True))
        beside = setting.beside(found.moment)
        held = found.gpu if self.measure == "whole" else found.reserved
        expected = found.allocated if self.measure == "allocated" else held.expected
        return expected + beside, held.high + beside

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted[0] / self.bytes

    @property
    def _model(self) -> Model:
        if self.config is None:
            return load(self.model, NOWHERE, cache_dir=str(NOWHERE))
        return from_config(self.model, self.config, source=self.source)


@dataclass(frozen=True)
class Source:
    """The rows of one page.

    name: of its file; heading, url, about: as the file has them. again: the same runs as another page's, by
    another measure.
    """

    name: str
    heading: str
    url: str
    about: str
    rows: tuple[Published, ...]
    again: bool = False

    @property
    def comparable(self) -> tuple[Published, ...]:
        return tuple(row for row in self.rows if not row.incomparable)

    @property
    def measures(self) -> frozenset[str]:
        return frozenset(row.measure for row in self.rows)

    @property
    def project(self) -> str:
        """Whose page it is: the heading up to its first comma."""
        return self.heading.partition(",")[0]


@cache
def sources() -> tuple[Source, ...]:
    """All of docs/published, by name."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.yaml")))


def comparable() -> tuple[Published, ...]:
    """The rows of all pages that can be compared, each run once."""
    return tuple(row for source in sources() if not source.again for row in source.comparable)


def _read(path: Path) -> Source:
    """A page's `train` and what COMMON names hold for its rows, whose own go before them.

    models: config.json by model, for those that the built-in table lacks.
    """
    page = yaml.safe_load(path.read_text(encoding="utf-8"))
    common = {key: page[key] for key in COMMON if key in page}
    configs = page.get("models", {})
    rows = []
    for row in page["rows"]:
        train = {**page["train"], **row.get("train", {})}
        config = configs.get(row["model"])
        rows.append(Published(path.stem, **{**common, **row, "train": train, "config": config}))
    again = page.get("again", False)
    return Source(path.stem, page["source"], page["url"], page["about"], tuple(rows), again)
