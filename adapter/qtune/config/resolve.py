"""Merging ordered layers to one config, and `--set` as the topmost layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from qtune.config.aliases import aliases
from qtune.config.presets import BLOCKS
from qtune.errors import QtuneError
from qtune.files import leaves, parse_yaml
from qtune.schema import NULL_IS_A_VALUE
from qtune.values import Config, KeyPath, Layer, Origin, Value

SET_LAYER = "--set"


def merge(name: str, layers: Iterable[Layer]) -> Config:
    """Merge `layers`, lowest precedence first.

    Mappings merge key by key; scalars and lists replace what was there, a mapping too; None removes the
    key and all below it, where it is not a value of the argument's own. A value that replaces another keeps
    its place in the order.
    """
    layers = tuple(layers)
    merged: dict[KeyPath, Value] = {}
    mappings: set[KeyPath] = set()  # every path that has had leaves below it
    for layer in layers:
        for path, value in layer.values.items():
            parents = [path[:length] for length in range(1, len(path))]
            for parent in parents:
                merged.pop(parent, None)
            if path in mappings:
                for leaf in [leaf for leaf in merged if leaf[: len(path)] == path and leaf != path]:
                    del merged[leaf]
            if value.value is None and path[-1] not in NULL_IS_A_VALUE:
                merged.pop(path, None)
            else:
                merged[path] = value
                mappings.update(parents)
    return Config(name, merged, layers)


def overrides(assignments: Sequence[str], other_names: Mapping[str, str] | None = None) -> Layer:
    """The `--set KEY=VALUE` options as the topmost layer.

    VALUE is YAML; KEY is an argument of LLaMA-Factory, or starts with `zero.`, `deepspeed.` or `launch.`,
    with dots for nested keys. other_names: another toolkit's name for an argument, taken for that argument;
    None for all of the table's.
    Raises QtuneError for an assignment of another form.
    """
    values: dict[KeyPath, Value] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        path = tuple(key.strip().split("."))
        if not equals or not all(path):
            raise QtuneError(
                f"`{assignment}` is not KEY=VALUE", where=SET_LAYER, fix="write e.g. --set learning_rate=1e-5"
            )
        if path[0] not in BLOCKS:
            known = aliases() if other_names is None else other_names
            path = ("train", *path) if len(path) > 1 else ("train", known.get(path[0], path[0]))
        elif len(path) == 1:
            raise QtuneError(
                f"`{path[0]}` is a block of keys",
                where=SET_LAYER,
                fix=f"name a key in it: --set {path[0]}.KEY=VALUE",
            )
        parsed, _ = parse_yaml(text, f"{SET_LAYER} {key}")
        origin = Origin(SET_LAYER)
        below = leaves({path[-1]: parsed}, path[:-1])
        values |= {leaf: Value(value, origin) for leaf, value in below}
    return Layer(SET_LAYER, values)
