"""Writing an import as the text of a preset."""

from __future__ import annotations

from qtune.files import block_lines, dump_yaml
from qtune.importing.parts import Translation
from qtune.render.files import SECTIONS, section_of
from qtune.schema import NULL_IS_A_VALUE
from qtune.values import nested


def preset_text(part: Translation, kind: str, display: str) -> str:
    """The preset's YAML, in the sections of a train.yaml."""
    lines = [
        f"# Imported from {' '.join(display.split())}, {kind}. What it does not say comes from base.",
        f"about: {dump_yaml(f'imported from {display}')}",
    ]
    train = {path[1]: value for path, value in part.values.items() if path[0] == "train"}
    said = {key: value for key, value in train.items() if value.value is not None or key in NULL_IS_A_VALUE}
    if train:
        lines.append("train:")
    for section in SECTIONS:
        mine = {key: value for key, value in said.items() if section_of(key) == section}
        lines += [f"  # {section}"] if mine else []
        lines += [f"  {key}: {dump_yaml(value.value)}" for key, value in mine.items()]
    if nulls := [key for key in train if key not in said]:
        lines.append("  # the original leaves these to LLaMA-Factory")
        lines += [f"  {key}: null" for key in nulls]
    for block in ("zero", "deepspeed", "launch"):
        tree = nested(part.values, block)
        if tree:
            lines += [f"{block}:", *block_lines(tree, 1)]
    return "\n".join(lines) + "\n"
