"""What asks this process to stop: collected while a child runs, instead of ending it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def collected() -> Iterator[list[int]]:
    """The SIGINT, SIGTERM and SIGHUP that come while inside, in order.

    SIGINT also where a script's `&` made it ignored, SIGHUP not where nohup did.
    """
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    watched = {signal.SIGINT, signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup asked for it
        watched.add(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in watched}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
