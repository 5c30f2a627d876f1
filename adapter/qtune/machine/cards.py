"""GPUs by the names of their cards: how much memory torch finds on them, and how fast they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from qtune.files import table_beside

AMPERE = 8  # the first CUDA compute capability (major) with bf16
# Words of a card's full name that do not tell it from others.
_NOISE = re.compile(
    r"nvidia|geforce|tesla|quadro|amd|instinct|generation|blackwell|server|workstation|edition|sxm\d?|hbm\d?e?"
)
_SIZE = re.compile(r"\d+gb")
_NEAR = 0.1  # of its memory a card has more or less by driver and ECC; other versions differ by more


@dataclass(frozen=True)
class Card:
    """A GPU, as it is sold.

    sold: the GB of its name or data sheet; memory: GiB that torch reports of them; capability: CUDA's, None
    for other makers' cards; tflops: dense, in 16 bits; bandwidth, pcie, nvlink: GB/s of its memory, to the
    host and to the other GPUs of its machine, the last two both ways together, None without such a link;
    called: names of it that its own does not cover. log, sheet: the sources.
    """

    name: str
    sold: float
    memory: float
    tflops: float
    bandwidth: float
    pcie: float
    log: str
    sheet: str
    capability: float | None = None
    nvlink: float | None = None
    called: Sequence[str] = ()

    @property
    def bf16(self) -> bool:
        return self.capability is None or self.capability >= AMPERE

    @property
    def flops(self) -> float:
        """FLOP/s at best, in bf16, or in fp16 where it has no bf16."""
        return self.tflops * 1e12

    @property
    def memory_rate(self) -> float:
        """Bytes/s at best from its own memory."""
        return self.bandwidth * 1e9

    @property
    def host_rate(self) -> float:
        """Bytes/s at best from host memory, one way."""
        return self.pcie * 1e9 / 2

    @property
    def peer_rate(self) -> float | None:
        """Bytes/s at best from other GPUs, one way; None where they share no link but the host's."""
        return None if self.nvlink is None else self.nvlink * 1e9 / 2


@cache
def cards() -> Mapping[str, Card]:
    """All that are known, by name."""
    table = table_beside(__file__, "cards.yaml")
    return {
        name: Card(name, **{**row, "sheet": table["sheets"][row["sheet"]]})
        for name, row in table["cards"].items()
    }


def find_card(text: str, memory: float | None = None) -> Card | None:
    """The card that people or its driver call `text`; None where none is called so.

    Case, spaces and dashes do not matter. Of several sizes it is the smallest, or the one that has about
    `memory` GiB; None where none has.
    """
    found = _by_key().get(_key(text), ())
    if memory is not None:
        found = [card for card in found if abs(card.memory - memory) <= _NEAR * memory]
    return min(found, key=lambda card: card.memory, default=None)


def smallest(sold: float) -> Card | None:
    """Of the cards that are sold as so many GB the one with the least memory, None where none is sold so."""
    found = (card for card in cards().values() if card.sold == sold)
    return min(found, key=lambda card: card.memory, default=None)


def sizes(above: float) -> list[Card]:
    """The smallest card of each size that NVIDIA sells, of those with more than `above` GiB, in order."""
    each = [smallest(sold) for sold in sorted({card.sold for card in cards().values() if card.capability})]
    return [card for card in each if card is not None and card.memory > above]


def slowest(memory: float) -> Card:
    """Of the cards that are sold as the one with about `memory` GiB is, the one that computes least."""
    nearest = min(cards().values(), key=lambda card: abs(card.memory - memory))
    return min((card for card in cards().values() if card.sold == nearest.sold), key=lambda card: card.tflops)


def near_cards(text: str) -> list[str]:
    """The names most like `text`, at most three, the nearest first."""
    import difflib

    keys = difflib.get_close_matches(_key(text), _by_key(), n=9, cutoff=0.6)
    return list(dict.fromkeys(card.name for key in keys for card in _by_key()[key]))[:3]


@cache
def _by_key() -> Mapping[str, Sequence[Card]]:
    """The cards by each of their names, with the size they are sold as and without it."""
    found: dict[str, list[Card]] = {}
    for card in cards().values():
        size = f"{card.sold:g}gb"
        for name in {_key(text).removesuffix(size) for text in (card.name, *card.called)}:
            for key in (name, name + size):
                found.setdefault(key, []).append(card)
    return found


def _key(text: str) -> str:
    """What tells a card from others in a name, its size last: `NVIDIA A100 80GB PCIe` is `a100pcie80gb`."""
    words = [word for word in re.split(r"[\s_-]+", text.lower()) if not _NOISE.fullmatch(word)]
    words.sort(key=lambda word: _SIZE.fullmatch(word) is not None)
    return "".join(words).removeprefix("rtx")
