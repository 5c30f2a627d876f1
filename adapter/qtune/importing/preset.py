"""An import as the text of a preset, and of the registrations that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qtune.errors import QtuneError
from qtune.files import dump_yaml, parse_yaml
from qtune.importing.parts import Part, Registered
from qtune.render import section_of
from qtune.values import nested

_SECTIONS = ("model", "method", "dataset", "output", "train", "eval")


def preset_text(part: Part, kind: str, display: str) -> str:
    """The preset's YAML, in the sections of a train.yaml."""
    lines = [
        f"# Imported from {' '.join(display.split())}, {kind}. What it does not say comes from base.",
        f"about: {dump_yaml(f'imported from {display}')}",
    ]
    train = {path[1]: value for path, value in part.values.items() if path[0] == "train"}
    said = {key: value for key, value in train.items() if value.value is not None}
    if train:
        lines.append("train:")
    for section in _SECTIONS:
        mine = {key: value for key, value in said.items() if section_of(key) == section}
        lines += [f"  # {section}"] if mine else []
        lines += [f"  {key}: {dump_yaml(value.value)}" for key, value in mine.items()]
    if nulls := [key for key in train if key not in said]:
        lines.append("  # base sets these; the original leaves them to LLaMA-Factory")
        lines += [f"  {key}: null" for key in nulls]
    for block in ("zero", "launch"):
        tree = nested(part.values, block)
        if tree:
            lines += [f"{block}:", *_lines(tree, 1)]
    return "\n".join(lines) + "\n"


def registrations_text(datasets: Registered) -> str:
    """Entries of data/datasets.yaml."""
    return "".join(f"{line}\n" for line in _lines(datasets, 0))


def _lines(tree: Mapping[str, Any], depth: int) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value and depth < 2:
            yield f"{'  ' * depth}{dump_yaml(key)}:"
            yield from _lines(value, depth + 1)
        else:
            yield f"{'  ' * depth}{dump_yaml(key)}: {dump_yaml(value)}"


def with_registrations(text: str, datasets: Registered, display: str) -> str:
    """The text of a data/datasets.yaml with these entries at its end.

    Raises QtuneError where they cannot simply be added to what is there.
    """
    new = f"{text.rstrip()}\n\n{registrations_text(datasets)}".lstrip()
    try:
        data = parse_yaml(new, display)[0]
    except QtuneError:
        data = None
    if not isinstance(data, dict) or not datasets.keys() <= data.keys():
        names = ", ".join(f"`{name}`" for name in datasets)
        fix = "write its entries one below the other, each starting at the left margin"
        raise QtuneError(f"has no room at its end for {names}", where=display, fix=fix)
    return new
