"""Values that stand in one place of many rows, to look at all of them at once.

A call from C over a whole column costs a small part of what Python takes to go from row to row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice
from operator import itemgetter
from typing import Any


class Values:
    """Some values, as JSON has them; what is found out about them is kept."""

    def __init__(self, all_of_them: Sequence[Any]) -> None:
        self.all = all_of_them

    @cached_property
    def types(self) -> set[type]:
        return set(map(type, self.all))

    @cached_property
    def members(self) -> Mapping[str, Values] | None:
        """By key, where all values are objects with the same keys, else None."""
        objects = self.all
        if self.types != {dict} or len(set(map(len, objects))) != 1:
            return None
        try:
            return {key: Values(list(map(itemgetter(key), objects))) for key in objects[0]}
        except KeyError:
            return None

    @cached_property
    def elements(self) -> Values:
        """Of all lists among the values."""
        lists = self.all
        if self.types != {list}:
            lists = [value for value in lists if type(value) is list]
        return Values(list(chain.from_iterable(lists)))

    def by_list(self, of_elements: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
        """What there is for each of the `elements`, put together for each of the lists."""
        remaining = iter(of_elements)
        return (tuple(islice(remaining, len(value))) for value in self.all)
