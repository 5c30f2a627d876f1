"""Typed reading of a model's config.json: every number is checked, and every error names the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from qtune.errors import QtuneError

LARGEST, MOST_LAYERS = 10**9, 10**4
"""No width and no number of layers of a model comes near; beyond them the file is broken."""
_Item = TypeVar("_Item")
# Names of one number, each of which some model_type writes (transformers, attribute_map of its config).
_SAME = (
    ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
    (
        "num_experts_per_tok",
        "num_experts_per_token",
        "moe_topk",
        "moe_top_k",
        "moe_k",
        "top_k_experts",
    ),
    ("moe_intermediate_size", "expert_ffn_hidden_size"),
)
_NAMES = {name: (name, *(each for each in names if each != name)) for names in _SAME for name in names}


@dataclass(frozen=True)
class Fields:
    """What a config.json says, over the defaults of its model_type. where: the file, for errors."""

    values: Mapping[str, Any]
    where: str
    defaults: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """The value as it stands, under whichever of its names; the default where the file leaves it out."""
        names = _NAMES.get(name, (name,))
        found = next((each for each in names if each in self.values), None)
        if found is not None:
            return self.values[found]
        return next((self.defaults[each] for each in names if each in self.defaults), None)

    def maybe(self, name: str) -> int | None:
        """A whole number from 0, None where neither file nor defaults give one."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
            raise QtuneError(
                f"`{name}` is {value!r}, not a whole number from 0", where=self.where, fix="repair the file"
            )
        return value

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number from 1; default: where the file gives none, or null."""
        value = self.maybe(name)
        if value is None:
            value = default
        if not value:
            problem = "is missing" if value is None else "is 0"
            raise QtuneError(f"`{name}` {problem}", where=self.where, fix="download the model's files again")
        return value

    def layers(self, name: str) -> int:
        """A number of layers, each of which is built."""
        value = self.count(name)
        if value > MOST_LAYERS:
            raise QtuneError(
                f"`{name}` is {value:,}; no model has that many layers",
                where=self.where,
                fix="repair the file",
            )
        return value

    def listed(self, name: str, kind: type[_Item], least: int = 0) -> Sequence[_Item] | None:
        """A list of at least `least` items of one kind, None where neither file nor defaults give one."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) < least or any(type(item) is not kind for item in value):
            wanted = f"a list of {least or 'any number of'} items of type {kind.__name__}"
            raise QtuneError(f"`{name}` is not {wanted}", where=self.where, fix="repair the file")
        return value

    def side(self, name: str) -> int:
        """A length that stands alone or as height and width, which are one."""
        value = self.get(name)
        if isinstance(value, list) and value and all(length == value[0] for length in value):
            value = value[0]
        return Fields({name: value}, self.where, {}).count(name)

    def flag(self, name: str) -> bool:
        """A yes or no, no where nothing says it."""
        return bool(self.get(name))

    def block(self, name: str) -> Fields:
        """A mapping inside the file, empty where it is left out, over the defaults of that name."""
        value = self.values.get(name)
        if not isinstance(value, Mapping | None):
            raise QtuneError(f"`{name}` is not a mapping", where=self.where, fix="repair the file")
        return Fields(value or {}, self.where, self.defaults.get(name, {}))
