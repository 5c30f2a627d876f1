"""The text of a preset that holds a recommendation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtune.advice.choices import Choice
from qtune.config.presets import BLOCKS
from qtune.config.project import Project
from qtune.config.resolve import overrides
from qtune.files import block_lines, dump_yaml
from qtune.units import counted
from qtune.values import KeyPath, Value, nested


def settings_for_preset(project: Project, assignments: Sequence[str]) -> dict[KeyPath, Value]:
    """What --set says, but for what qtune.yaml sets too, which wins over presets."""
    fixed = project.layer.values if project.layer is not None else {}
    return {path: value for path, value in overrides(assignments).values.items() if path not in fixed}


def preset_text(choice: Choice, made_for: str, values: Mapping[KeyPath, Value]) -> str:
    """The preset's YAML with what the choice sets, and `values`: what --set said when the batch was found."""
    own = {path: choice.config.values[path] for path in choice.settings}
    tree = {block: nested({**values, **own}, block) for block in BLOCKS}
    rows = counted(choice.effective_batch, "row")
    lines = [
        f"# Made by `qtune recommend` for {made_for}:",
        f"# {rows} a step, as in {choice.name}, in batches that memory allows.",
        f"about: {dump_yaml(f'{choice.name} for {made_for}')}",
        f"extends: {choice.name}",
        *block_lines({block: keys for block, keys in tree.items() if keys}),
    ]
    return "\n".join(lines) + "\n"
