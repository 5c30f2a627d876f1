"""A DeepSpeed config as it was found, and the config beside it with which some of its keys have to agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qtune.files import dump_yaml, table_beside
from qtune.importing.parts import Translation, noted, refused
from qtune.schema import arguments, problem
from qtune.values import KeyPath, Origin, Value

TABLES: Mapping[str, Any] = table_beside(__file__, "zero.yaml")
AUTO = "left out: auto, as qtune writes it too"


@dataclass(frozen=True)
class DeepSpeedFile:
    """A DeepSpeed config: its content, and where it and each of its keys stand."""

    data: Mapping[str, Any]
    lines: Mapping[KeyPath, int]
    display: str

    @property
    def stage(self) -> Any:
        """ZeRO's, 0 where nothing is said of it."""
        block = self.data.get("zero_optimization")
        return block.get("stage", 0) if isinstance(block, Mapping) else 0

    def origin(self, *path: str) -> Origin:
        return Origin("original", self.display, self.lines.get(path))


@dataclass(frozen=True)
class Beside:
    """The config that names the file: what DeepSpeed's batch, precision and rates have to agree with.

    whole: whether what it leaves out has the library's default; else the file's own value is taken for it.
    """

    train: Translation
    whole: bool

    def says(self, name: str) -> Any:
        """The argument's value, None where nothing is said of it."""
        return self.train.train(name, TABLES["defaults"][name] if self.whole else None)


def agreed(shown: str, name: str, value: Any, beside: Beside, origin: Origin) -> Translation:
    """A value that is an argument's too: `auto`, equal to it, or that argument where nothing else says it.

    Any other is an error, as it is one in transformers/integrations/deepspeed.py, fill_match.
    """
    if value == "auto":
        return noted(shown, AUTO, origin)
    wrong = problem(arguments()[name], value)
    if wrong:
        return refused(shown, wrong, "correct it in the original", origin)
    said = beside.says(name)
    if said is None:
        part = Translation({("train", name): Value(value, origin)})
        return part + noted(shown, f"`{name}: {dump_yaml(value)}` in LLaMA-Factory", origin)
    if value == said:
        return noted(shown, f"left out: it agrees with `{name}`", origin)
    message = f"is {dump_yaml(value)}, but `{name}` is {dump_yaml(said)}: the trainer refuses a difference"
    return refused(shown, message, f"write auto there, or the same as `{name}`", origin)
