"""The address and port at which the nodes of a training meet: whether one is known and the other free."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Meeting:
    """Where the nodes meet, as this machine sees it.

    unknown: why the address is none here, None where it is one; taken: whether something listens at the port
    already, which only node 0 needs to know.
    """

    address: str
    port: int
    unknown: str | None = None
    taken: bool = False


def look_at(address: str, port: int, *, owner: bool) -> Meeting:
    """The meeting place as it looks from here; owner: whether this machine is to listen there."""
    try:
        socket.getaddrinfo(address, port)
    except (OSError, UnicodeError) as error:
        return Meeting(address, port, unknown=getattr(error, "strerror", None) or str(error))
    return Meeting(address, port, taken=owner and _is_taken(port))


def _is_taken(port: int) -> bool:
    """torch listens at all addresses of the machine (torch/csrc/distributed/c10d/socket.cpp)."""
    try:
        with socket.create_server(("", port)):
            return False
    except OSError:
        return True
