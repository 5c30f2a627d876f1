"""Edits of YAML that people write: comments, order and all other lines stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import yaml

from qtune.errors import QtuneError
from qtune.files import block_lines, dump_yaml, parse_yaml

_MARK = "\ufeff"


def with_values(text: str, block: str, values: Mapping[str, Any], display: str) -> str:
    """A file's text with `values` in its mapping `block`: in the place of what is there, else at its end.

    Raises QtuneError where the result would not say just that.
    """
    new = text.removeprefix(_MARK)
    before = parse_yaml(new, display)[0] or {}
    with suppress(yaml.YAMLError):  # the value before it broke what cannot be followed, such as an anchor
        for key, value in values.items():
            new = _with_value(new, block, key, dump_yaml(value))
    wanted = {**before, block: {**(before.get(block) or {}), **values}}
    if not says(new, wanted, display):
        paste = "\n".join(block_lines({block: values}))
        fix = f"write its keys one below the other; or paste this:\n{paste}"
        raise QtuneError(f"has no room in `{block}` for {', '.join(values)}", where=display, fix=fix)
    return f"{_MARK if text.startswith(_MARK) else ''}{new}"


def says(text: str, wanted: Mapping[str, Any], display: str) -> bool:
    """Whether the text is YAML of this mapping, in this order."""
    try:
        data = parse_yaml(text.removeprefix(_MARK), display)[0]
    except QtuneError:
        return False
    return isinstance(data, dict) and data == wanted and list(data) == list(wanted)


def end_line(node: yaml.Node) -> int:
    """The line after the last one of a node; a block's own mark stands after the comments below it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return end_line(last[1] if isinstance(node, yaml.MappingNode) else last)
    mark = node.end_mark
    return mark.line if mark.column == 0 and mark.line > node.start_mark.line else mark.line + 1


def _with_value(text: str, block: str, key: str, value: str) -> str:
    """The text with one value, which is YAML; as it was where it stands in a way that is not followed."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    found = _child(root, block)
    if found is None:
        return _with_line(_with_line(text, f"{block}:"), f"  {key}: {value}")
    old = _child(found, key)
    if isinstance(old, yaml.ScalarNode) or (isinstance(old, yaml.CollectionNode) and old.flow_style):
        start, end = old.start_mark.index, old.end_mark.index
        gap = " " if text[start - 1] == ":" else ""  # of a key that had no value
        spaces = re.match(r" +(?=#)", text[end:])  # before a comment, which keeps its column where it can
        if spaces is not None:
            value = value.ljust(end - start + len(spaces[0]) - 1) + " "
            end += len(spaces[0])
        return f"{text[:start]}{gap}{value}{text[end:]}"
    if old is not None or not isinstance(found, yaml.MappingNode):
        return text
    if found.flow_style:
        close = found.end_mark.index - 1
        return f"{text[:close].rstrip()}{', ' if found.value else ''}{key}: {value}{text[close:]}"
    indent = " " * found.value[0][0].start_mark.column
    return _with_line(text, f"{indent}{key}: {value}", end_line(found))


def _child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)


def _with_line(text: str, line: str, number: int | None = None) -> str:
    """The text with one more line, as line `number` counted from 0, else at the end."""
    ends = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += ends
    lines.insert(len(lines) if number is None else number, f"{line}{ends}")
    return "".join(lines)
