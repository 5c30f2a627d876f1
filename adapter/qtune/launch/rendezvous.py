"""Why the nodes of a training did not meet: torch's words, with the nodes and the place that they lack."""

from __future__ import annotations

import re

from qtune.values import Config

# torch/csrc/distributed/c10d/TCPStore.cpp, waitForWorkers; socket.cpp; elastic/rendezvous/api.py
_CAME = re.compile(r"Timed out after (\d+) seconds waiting for clients\. (\d+)/(\d+) clients joined")
_CALLED = re.compile(r"client socket has timed out after (\d+)ms while trying to connect to \((.+), (\d+)\)")
_ELASTIC = re.compile(r"RendezvousTimeoutError|RendezvousConnectionError")
_TAKEN = re.compile(r"EADDRINUSE|Tried to launch distributed communication on port")
_SAME = "with the same launch.master_addr and launch.master_port, which firewalls let through"


def why_not(config: Config, words: str) -> str | None:
    """What a child's error means for its node, None where it is about something else, or one node alone."""
    port = config.get("launch", "master_port")
    if _TAKEN.search(words) and port is not None:
        return f"port {port} is in use on this machine: set launch.master_port to another, on every node"
    if config.nnodes == 1:
        return None
    place = f"{config.get('launch', 'master_addr')}:{port}"
    if came := _CAME.search(words):
        seconds, there, wanted = map(int, came.groups())
        who = "node 1" if wanted == 2 else f"{wanted - there} of nodes 1 to {wanted - 1}"
        return f"{who} did not come to {place} within {seconds} s: start each with --node-rank, {_SAME}"
    if called := _CALLED.search(words):
        seconds = int(called[1]) // 1000
        return f"node 0 did not answer at {called[2]}:{called[3]} within {seconds} s: start it {_SAME}"
    if _ELASTIC.search(words):
        return f"not all of {config.nnodes} nodes came to {place} in time: start each {_SAME}"
    return None
