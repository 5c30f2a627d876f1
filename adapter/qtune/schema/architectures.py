"""What a model's names do not tell: how the tested transformers builds each model_type, from a snapshot.

In the snapshot's names of modules N stands for any number, of a layer or of an expert.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from qtune.schema import snapshot


@dataclass(frozen=True)
class Architecture:
    """One model_type.

    kinds: of modules, in the words of qtune.predict.models.shapes.ModuleKind, the names in a row. packs: the
    modules of which the kind does not tell whether bitsandbytes packs them, and whether it does. frozen:
    those that the library itself never trains. renamed: what of a checkpoint's name becomes what of the
    model's, in order, each once (pattern, text). prefix: what the names in a checkpoint of the base model
    alone lack. unread: patterns of names that are no parameters. tied: modules whose weight is another's.
    ties: whether it is so where the config does not say it. adapted: where PEFT does not take all that
    `lora_target: all` stands for, the names that it takes.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    packs: Mapping[str, bool] = field(default_factory=dict)
    frozen: Sequence[str] = ()
    renamed: Sequence[tuple[str, str]] = ()
    prefix: str = ""
    unread: Sequence[str] = ()
    tied: Mapping[str, str] = field(default_factory=dict)
    ties: bool = False
    adapted: Sequence[str] = ()

    def kind(self, module: str) -> Any:
        """A module's ModuleKind; None where the tested library built none of that name."""
        return self._kinds.get(_numberless(module))

    def packed(self, module: str) -> bool | None:
        """Whether bitsandbytes packs a module's weight, None where its kind tells."""
        return self.packs.get(_numberless(module))

    def is_frozen(self, module: str) -> bool:
        """Whether the library itself never trains a module."""
        return _numberless(module) in self.frozen

    def name(self, stored: str) -> str | None:
        """The parameter that a checkpoint's tensor belongs to, None where it belongs to none.

        Source: transformers/core_model_loading.py, rename_source_key; modeling_utils.py,
        PreTrainedModel._adjust_missing_and_unexpected_keys.
        """
        name = stored
        for pattern, text in () if self._knows(name) else self.renamed:
            if found := re.search(pattern, name):
                name = name.replace(found[0], text, 1)
        if any(re.search(pattern, name) for pattern in self.unread):
            return None
        whole, inner = f"{self.prefix}.{name}", name.removeprefix(f"{self.prefix}.")
        return next((each for each in (name, inner, whole) if self._knows(each)), name)

    def _knows(self, parameter: str) -> bool:
        return self.kind(parameter.rpartition(".")[0]) is not None

    @cached_property
    def _kinds(self) -> Mapping[str, Any]:
        return {module: kind for kind, modules in self.kinds.items() for module in modules.split()}


def _numberless(module: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "N", module)


@cache
def architecture(model_type: str) -> Architecture | None:
    """How a model_type is built, None where the tested transformers has no such language model."""
    plain: Mapping[str, Any] | None = snapshot("architectures").get(model_type)
    return None if plain is None else Architecture(**plain)
