"""The signals that ask this process to stop, collected while it trains instead of ending it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

END = signal.SIGQUIT
"""Ends a training at once, as the second of the others does."""

_collecting: list[list[int]] = []
_asking = False


@contextmanager
def collected() -> Iterator[list[int]]:
    """The SIGINT, SIGTERM, SIGHUP and SIGQUIT that come while inside, in order.

    SIGINT also where a script's `&` made it ignored, SIGHUP not where nohup did. Within another such block it
    is that one's list, with what came before.
    """
    if _collecting:
        yield _collecting[0]
        return
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if _asking:
            raise KeyboardInterrupt

    watched = {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup asked for it
        watched.add(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in watched}
    _collecting.append(received)
    try:
        yield received
    finally:
        _collecting.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def asking() -> Iterator[None]:
    """While somebody is asked a question: what comes then raises KeyboardInterrupt there, too."""
    global _asking
    _asking = True
    try:
        yield
    finally:
        _asking = False
