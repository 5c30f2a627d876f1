"""A command's options put into the config that it names: they win, and a dotted one means its block."""

from __future__ import annotations

from collections.abc import Mapping

from qtune.importing.retype import plain
from qtune.values import Value


def assigned(given: Mapping[str, Value]) -> dict[str, Value]:
    """Options as they are, and each word `key=value` as that key."""
    found: dict[str, Value] = {}
    for word, value in given.items():
        name, equals, text = word.partition("=")
        found[name] = Value(plain(text), value.origin) if equals else value
    return found


def within(blocks: Mapping[str, Value], given: Mapping[str, Value]) -> dict[str, Value]:
    """The blocks of a config, with the options in them."""
    found = dict(blocks)
    for key, value in given.items():
        block, dot, rest = key.partition(".")
        if not dot:
            found[key] = value
            continue
        there = found.get(block, Value({}, value.origin))
        inside = there.value if isinstance(there.value, dict) else {}
        values = {
            name: item if isinstance(item, Value) else Value(item, there.origin)
            for name, item in inside.items()
        }
        found[block] = Value(within(values, {rest: value}), there.origin)
    return found
