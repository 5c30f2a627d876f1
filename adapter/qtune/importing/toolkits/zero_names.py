"""DeepSpeed's files that a toolkit ships, and that its configs name wherever they lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtune.files import dump_yaml, leaves
from qtune.importing.parts import Translation, noted, warned
from qtune.importing.toolkits.table import Reading
from qtune.values import Value


def deepspeed(
    key: str, value: Value, blocks: Mapping[str, Mapping[str, Any]], reading: Reading
) -> Translation:
    """DeepSpeed's file that a config names, or the `zero` block of the shipped one of that name.

    blocks: `zero_optimization` of what the toolkit ships, by the file's name without `.json`.
    """
    given, origin = value.value, value.origin
    if given in ({}, "", False):
        return noted(key, "left out: DeepSpeed is off", origin)
    if isinstance(given, dict) or reading.source.find(str(given)):
        return Translation({("train", "deepspeed"): value})
    block = blocks.get(Path(str(given)).stem)
    if block is None:
        fix = "write the `zero:` block into the preset, or import with the file beside the config"
        return warned(key, f"there is no {given}, so that DeepSpeed is off in the preset", fix, origin)
    values = {("zero", *path): Value(item, origin) for path, item in leaves(dict(block))}
    return noted(
        key, f"`zero: {dump_yaml(block)}`, as the toolkit's file of that name", origin
    ) + Translation(values)
