"""Jinja templates that may come from others, run within bounds.

They reach no attribute that could do more than lay values out, and neither the machine's memory nor its time.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import jinja2
import jinja2.sandbox
from jinja2.exceptions import SecurityError

from qtune.files import MAX_BYTES
from qtune.units import size_text

CPU_SECONDS = 3.0
MEMORY = 256_000_000
_INTEGER_BITS = 256


class TooMuch(BaseException):
    """What went beyond the bounds; no Exception, so that nothing on the way takes it for one of its own."""


class Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """No attribute tricks, and no number that takes minutes to compute."""

    intercepted_binops = frozenset({"*", "**", "/", "//", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, **options)
        # two that give other bytes each time, and one that computes powers
        del self.filters["random"], self.globals["lipsum"], self.filters["round"]

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise SecurityError("a template has no use for powers")
        integers = [side for side in (left, right) if isinstance(side, int)]
        if sum(side.bit_length() for side in integers) > _INTEGER_BITS:
            raise SecurityError("too large a number")
        return super().call_binop(context, operator, left, right)


def fill(template: jinja2.Template, values: Mapping[str, Any]) -> str:
    """The text that a template makes of `values`, in a block of `bounded`; raises TooMuch for a long one."""
    text, size = [], 0
    for piece in template.generate(values):
        size += len(piece)
        if size > MAX_BYTES:
            raise TooMuch(f"makes more than {MAX_BYTES:,} characters")
        text.append(piece)
    return "".join(text)


@contextmanager
def bounded() -> Iterator[None]:
    """Bounds on the processor's time and, on Linux, on memory while inside; raises TooMuch beyond them."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooMuch(f"takes more than {CPU_SECONDS:g} seconds")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGVTALRM, stop)
    try:
        try:
            # again and again: one exception may fall where Python ignores it
            signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS, 0.1)
            resource.setrlimit(resource.RLIMIT_AS, (_memory_limit(soft), hard))
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    except MemoryError:
        raise TooMuch(f"takes more than {size_text(MEMORY)} of memory") from None


def _memory_limit(present: int) -> int:
    """`MEMORY` bytes more than the process has now, never more than `present` allows."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return present
    wanted = pages * resource.getpagesize() + MEMORY
    return wanted if present == resource.RLIM_INFINITY else min(wanted, present)
