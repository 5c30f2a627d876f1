"""What torch's allocator holds, and what it needs at the least: its rules, replayed over traced trainings.

Run as `python bench/segments.py`, without a GPU; it takes minutes. The trainings are those of
tests/e2e/trace_memory.py, with rows of one length and of changing ones. The rules are those of one stream in
torch 2.11 (c10/cuda/CUDACachingAllocator.cpp). Blocks are rounded to 512 bytes. Up to 1 MiB they come from
segments of 2 MiB, below 10 MiB from ones of 20 MiB, else from their own, rounded to 2 MiB. The smallest free
block that is large enough is taken, and split where enough is left. Of segments that grow each of the two
pools has one, mapped by pages of 2 and 20 MiB. Short of memory, what is free is given back: whole segments,
or pages.
"""

from __future__ import annotations

import bisect
import random
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "e2e")]

import torch  # noqa: E402
import trace_memory  # noqa: E402
from test_memory_traced import LORA, shapes  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

MIB = 2**20
ENDLESS = 1 << 50
ROUNDED = 512
SMALL, OWN = (
    MIB,
    10 * MIB,
)  # bytes up to which a block is of the small pool, from which it has its own segment
SEGMENT = {True: 2 * MIB, False: 20 * MIB}  # of small blocks and others; also the pages of growing ones
MICRO_BATCHES = 5  # of each of the two steps
Event = tuple[int, int]  # an allocation's number, and its bytes: 0 where it ends


class OutOfMemory(Exception):
    """More was asked for than there is."""


class Block:
    """So many bytes of a segment from `start` on; before, after: its neighbours there."""

    def __init__(self, segment: int, start: int, size: int, small: bool) -> None:
        self.segment, self.start, self.size, self.small = segment, start, size, small
        self.before: Block | None = None
        self.after: Block | None = None
        self.free = True

    @property
    def place(self) -> tuple[int, int, int]:
        """By size, then by where it lies."""
        return self.size, self.segment, self.start


class Allocator:
    """reserved: bytes of its segments, `most` at the most; limit: of which there are no more."""

    def __init__(self, grows: bool, limit: int = ENDLESS) -> None:
        self.grows, self.limit = grows, limit
        self.free: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}
        self.blocks: dict[tuple[int, int], Block] = {}
        self.taken: dict[int, Block] = {}
        self.pages: dict[bool, set[int]] = {True: set(), False: set()}
        self.reserved = self.most = self.segments = 0
        for small in (True, False) if grows else ():
            self._segment(ENDLESS, small)

    def take(self, number: int, size: int) -> None:
        size = rounded(size, ROUNDED)
        small = size <= SMALL
        if not self.grows and not self._fitting(small, size):
            whole = SEGMENT[small] if size < OWN else rounded(size, 2 * MIB)
            self._reserve(lambda: whole)
            self._segment(whole, small)
        block = self.blocks[self._fitting(small, size)[0][1:]]
        if self.grows:
            self._map(block.start, size, small)
        self._unlist(block)
        left = block.size - size
        if left >= ROUNDED if small or self.grows else left > SMALL:
            rest = Block(block.segment, block.start + size, left, small)
            rest.before, rest.after, block.after, block.size = block, block.after, rest, size
            if rest.after:
                rest.after.before = rest
            self._list(rest)
        block.free = False
        self.taken[number] = block

    def give(self, number: int) -> None:
        block = self.taken.pop(number)
        if block.after and block.after.free:
            self._unlist(block.after)
            block = self._joined(block, block.after)
        if block.before and block.before.free:
            self._unlist(block.before)
            block = self._joined(block.before, block)
        self._list(block)

    def _joined(self, first: Block, second: Block) -> Block:
        first.size, first.after = first.size + second.size, second.after
        if first.after:
            first.after.before = first
        self.blocks.pop((second.segment, second.start), None)
        return first

    def _fitting(self, small: bool, size: int) -> list[tuple[int, int, int]]:
        at = bisect.bisect_left(self.free[small], (size, 0, 0))
        return self.free[small][at : at + 1]

    def _segment(self, size: int, small: bool) -> None:
        self.segments += 1
        self._list(Block(self.segments, 0, size, small))

    def _list(self, block: Block) -> None:
        block.free = True
        self.blocks[block.segment, block.start] = block
        bisect.insort(self.free[block.small], block.place)

    def _unlist(self, block: Block) -> None:
        del self.free[block.small][bisect.bisect_left(self.free[block.small], block.place)]

    def _map(self, start: int, size: int, small: bool) -> None:
        def missing() -> set[int]:
            return set(pages(start, size, small)) - self.pages[small]

        self._reserve(lambda: len(missing()) * SEGMENT[small])
        self.pages[small] |= missing()

    def _reserve(self, needed: Callable[[], int]) -> None:
        """Raises OutOfMemory where that is too much also when all that is free was given back."""
        if self.reserved + needed() > self.limit:
            self._give_back()
            if self.reserved + needed() > self.limit:
                raise OutOfMemory
        self.reserved += needed()
        self.most = max(self.most, self.reserved)

    def _give_back(self) -> None:
        if self.grows:
            for small, mapped in self.pages.items():
                taken = [block for block in self.taken.values() if block.small == small]
                used = {page for block in taken for page in pages(block.start, block.size, small)}
                self.reserved -= len(mapped - used) * SEGMENT[small]
                self.pages[small] = mapped & used
            return
        for block in [block for block in self.blocks.values() if block.free]:
            if block.before is None and block.after is None:
                self._unlist(block)
                del self.blocks[block.segment, block.start]
                self.reserved -= block.size


def rounded(size: int, to: int) -> int:
    return max(to, -(-size // to) * to)


def pages(start: int, size: int, small: bool) -> range:
    return range(start // SEGMENT[small], (start + size - 1) // SEGMENT[small] + 1)


def replay(events: Sequence[Event], grows: bool, limit: int = ENDLESS) -> int:
    """The most bytes that it reserves; raises OutOfMemory where it needs more than the limit."""
    allocator = Allocator(grows, limit)
    for number, size in events:
        if size:
            allocator.take(number, size)
        else:
            allocator.give(number)
    return allocator.most


def least(events: Sequence[Event], grows: bool, allocated: int, reserved: int) -> int:
    """The fewest bytes with which it does not run out, within half a percent."""
    low, high = allocated, reserved
    while high - low > allocated / 200:
        middle = (low + high) // 2
        try:
            replay(events, grows, middle)
            high = middle
        except OutOfMemory:
            low = middle
    return high


class Recorded(trace_memory.Allocations):
    """Keeps what is allocated and freed, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.seen: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_dispatch__(function, types, args, kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._record(tensor.untyped_storage())
        return result

    def _record(self, storage: Any) -> None:
        key, number = id(storage), len(self.events)
        if key in self.seen or not storage.nbytes():
            return

        def gone(reference: object) -> None:
            del self.seen[key]
            self.events.append((number, 0))

        self.seen[key] = weakref.ref(storage, gone)
        self.events.append((number, storage.nbytes()))


def record(case: dict[str, Any], lengths: Iterator[int]) -> tuple[list[Event], int, int]:
    """What a training allocates and frees, the most bytes at one time, and those of weights and states."""
    recorded, original = Recorded(), trace_memory.ConvertOutputsToFp32

    def cut(forward: Any) -> Any:
        def call(input_ids: Any, labels: Any) -> Any:
            length = next(lengths)
            return original(forward)(input_ids=input_ids[:, :length], labels=labels[:, :length])

        return call

    trace_memory.Allocations, trace_memory.ConvertOutputsToFp32 = (lambda: recorded), cut
    try:
        trace_memory.peak(case)
    finally:
        trace_memory.Allocations, trace_memory.ConvertOutputsToFp32 = Recorded, original
    sizes: dict[int, int] = {}
    now = most = 0
    there = []
    for number, size in recorded.events:
        now += rounded(size, ROUNDED) if size else -sizes.pop(number)
        if size:
            sizes[number] = rounded(size, ROUNDED)
        most = max(most, now)
        there.append(now)
    last = max(at for at, size in enumerate(there) if size > 0.9 * most)
    return recorded.events, most, min(there[len(there) // 3 : last])


def main() -> None:
    draw = random.Random(0)
    for size, length in (("0.5B", 2048), ("1.5B", 2048)):
        case = {**LORA, "shapes": shapes(size), "batch": 1, "length": length, "accumulation": MICRO_BATCHES}
        shorter = (int(length * draw.betavariate(2, 2.5)) + 1 for _ in range(MICRO_BATCHES - 1))
        changing = [*shorter, length]
        for what, lengths in (("of one length", [length]), ("of changing lengths", changing)):
            events, allocated, stays = record(case, cycle(lengths))
            for grows in (False, True):
                reserved = replay(events, grows)
                needed = least(events, grows, allocated, reserved)
                held, short = ((taken - allocated) / (allocated - stays) for taken in (reserved, needed))
                kind = "segments that grow" if grows else "fixed segments"
                said = f"{held:.2f} of what comes and goes, {short:.2f} at the least"
                print(f"{size}, rows {what}, {kind}: {said}")


if __name__ == "__main__":
    main()
