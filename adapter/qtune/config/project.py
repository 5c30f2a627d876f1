"""The project: a directory with a `qtune.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from qtune.config.defaults import DEFAULTS, defaults_layer
from qtune.config.entries import DirectorySource, Entry, GitSource, read_entries
from qtune.config.lock_file import Pin, read_lock
from qtune.config.presets import BLOCKS, PresetStore, layer_of, mapping
from qtune.config.sources import Source, open_source
from qtune.errors import QtuneError
from qtune.files import read_yaml
from qtune.values import Layer

FILE = "qtune.yaml"
KEYS = ("presets", "runs", "hub", DEFAULTS, *BLOCKS)


@dataclass(frozen=True, eq=False)
class Project:
    """A project as it was read; what hangs on it (presets, registrations) is read once.

    root: where relative paths start and children run; layer: None where there is no `qtune.yaml`; defaults:
    of its block `defaults`, None where there is none.

    entries: of `presets:`, searched in order before the built-in presets; runs: where trainings write,
    relative to root; hub: environment variables of the hubs, which hold where they are not set already.
    """

    root: Path
    layer: Layer | None = None
    entries: tuple[Entry, ...] = ()
    runs: str = "runs"
    hub: Mapping[str, str] = field(default_factory=dict)
    defaults: Layer | None = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What `qtune.yaml` says, lowest precedence first; presets but for `base` lie between the two."""
        return tuple(filter(None, (self.defaults, self.layer)))

    @property
    def presets(self) -> tuple[Path, ...]:
        """The directories among the sources of presets."""
        return tuple(entry.directory for entry in self.entries if isinstance(entry, DirectorySource))

    @cached_property
    def pins(self) -> dict[str, Pin]:
        """What qtune.lock pins; it is read only where a source needs it."""
        wanted = any(isinstance(entry, GitSource) for entry in self.entries)
        return read_lock(self.root) if wanted else {}

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The project's sources of presets and templates in order; the built-in ones come after them.

        Raises QtuneError where a git source is not pinned, or the cache does not have what is.
        """
        return tuple(open_source(entry, self.root, self.pins) for entry in self.entries)

    @cached_property
    def store(self) -> PresetStore:
        """The presets that names mean here."""
        return PresetStore(self.sources, self.root)

    @property
    def registrations(self) -> Path:
        """The file of the project's dataset registrations."""
        return self.root / "data" / "datasets.yaml"

    @property
    def runs_directory(self) -> Path:
        """Where its runs lie."""
        return self.root / Path(self.runs).expanduser()

    def from_root(self, path: Path) -> str:
        """`path` as a child that runs in the project's root may name it."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


def find_project(start: Path) -> Project:
    """The project of `start`: the nearest directory upwards with a `qtune.yaml`, else `start` itself.

    Raises QtuneError for a broken `qtune.yaml` and for preset directories that are not there.
    """
    start = start.resolve()
    for directory in (start, *start.parents):
        if (directory / FILE).is_file():
            return _read(directory)
    return Project(start)


def _read(root: Path) -> Project:
    document = read_yaml(root / FILE, FILE)
    data = mapping(document, KEYS, "project")
    entries = read_entries(document, root)
    runs = data.get("runs", "runs")
    if not isinstance(runs, str) or not runs.strip():
        raise QtuneError("`runs` takes a directory", where=document.where("runs"), fix="runs: runs")
    hub: Mapping[str, str] = {}
    if "hub" in data:
        from qtune.config.hub_settings import read_hub  # few projects have one

        hub = read_hub(document)
    return Project(root, layer_of("project", document), entries, runs, hub, defaults_layer(document))
