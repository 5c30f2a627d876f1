"""The project: a directory with a `qtune.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from qtune.config.presets import BLOCKS, PresetStore, layer_of, mapping
from qtune.errors import QtuneError
from qtune.files import read_yaml
from qtune.values import Layer

FILE = "qtune.yaml"
KEYS = ("presets", "runs", *BLOCKS)


@dataclass(frozen=True, eq=False)
class Project:
    """A project as it was read; what hangs on it (presets, registrations) is read once.

    root: where relative paths start and children run; layer: None where there is no `qtune.yaml`.

    presets: directories searched before the built-in presets; runs: where trainings write, relative to root.
    """

    root: Path
    layer: Layer | None = None
    presets: tuple[Path, ...] = ()
    runs: str = "runs"

    @cached_property
    def store(self) -> PresetStore:
        """The presets that names mean here."""
        return PresetStore(self.presets, self.root)

    @property
    def registrations(self) -> Path:
        """The file of the project's dataset registrations."""
        return self.root / "data" / "datasets.yaml"


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
    sources = data.get("presets") or []
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise QtuneError(
            "`presets` takes a list of directories", where=document.where("presets"), fix="presets: [presets]"
        )
    directories = []
    for index, source in enumerate(sources):
        directory = root / Path(source).expanduser()
        if not directory.is_dir():
            raise QtuneError(
                f"there is no directory `{source}` of presets",
                where=document.where("presets", str(index)),
                fix="create it, or take it out of `presets:`",
            )
        directories.append(directory)
    runs = data.get("runs", "runs")
    if not isinstance(runs, str) or not runs or len(runs.split()) != 1:
        raise QtuneError(
            "`runs` takes a directory whose path has no spaces (LLaMA-Factory's launcher splits at them)",
            where=document.where("runs"),
            fix="runs: runs",
        )
    return Project(root, layer_of("project", document), tuple(directories), runs)
