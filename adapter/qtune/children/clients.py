"""Bounds what clients cost a server of uvicorn: how long it waits for one, and how many it has at once.

By itself uvicorn waits for ever for the rest of a request, and for a client that takes no more of its answer
(uvicorn/protocols/http/h11_impl.py): it only counts the time between two requests.
"""

from __future__ import annotations

from typing import Any

SECONDS = 30.0
"""How long a client may take for the head of a request, between two parts of its body, or to take what was
sent to it."""
MOST = 500
"""Connections at once; many systems let a process open 1,024 files."""


def drop_slow() -> None:
    """From now on the servers that this process starts drop clients that they would wait for."""
    from uvicorn.protocols.http import auto

    auto.AutoHTTPProtocol = dropping(auto.AutoHTTPProtocol)


def dropping(protocol: Any) -> Any:
    """uvicorn's protocol of one connection, which ends itself where the client lets it wait."""

    class Dropping(protocol):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._waits_since = self.loop.time()
            # one that was ended just now is listed until the loop comes round
            there = [other for other in self.connections if not other.transport.is_closing()]
            if len(there) > MOST:
                waiting = [other for other in there if other.waits]
                min(waiting, key=lambda other: other._waits_since, default=self).transport.abort()
            self._look()

        def data_received(self, data: bytes) -> None:
            if self.cycle is not None and self.cycle.more_body:
                self._waits_since = self.loop.time()
            super().data_received(data)

        @property
        def waits(self) -> bool:
            """Whether nothing goes on until the client sends more, or takes what it was sent."""
            cycle = self.cycle
            answering = cycle is not None and not cycle.response_complete and not cycle.more_body
            return not answering or self.flow.write_paused

        def _look(self) -> None:
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                return
            now = self.loop.time()
            if not self.waits:
                self._waits_since = now
            elif now - self._waits_since > SECONDS:
                self.transport.abort()
            self.loop.call_later(SECONDS / 4, self._look)

    return Dropping
