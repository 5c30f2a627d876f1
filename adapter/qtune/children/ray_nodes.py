"""A script that runs one command on several nodes of a Ray cluster, each under the node supervisor.

Ray places the nodes; torchrun, which the command starts on each, makes one training of them. The placement
group has one bundle for each node, each on a node of its own. Rank 0's node gives MASTER_ADDR, and
MASTER_PORT where none is given.

Its input, where that is a pipe, is the node supervisor's own: `stop`, `end`, and its end.
The exit code is that of the node that failed first.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util import placement_group, remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

# Ray Train's own name and value for the same wait (ray/train/v2/_internal/constants.py).
PLACING_SECONDS = float(os.environ.get("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "60"))
POLL_SECONDS = 0.2
CONNECTING_SECONDS = 10.0
# A worker of Ray kills its children when it ends, the supervisor before it could end its own; and it runs
# them with the least priority.
WORKER_SETTINGS = {"RAY_kill_child_processes_on_worker_exit": "0", "RAY_worker_niceness": "0"}


class Supervised:
    """The actor: one node's supervisor. It has threads, so that `say` reaches it during `read`."""

    def place(self, directory: str) -> dict[str, Any]:
        """This node's address, a port that is free there, and whether it has `directory`."""
        with socket.socket() as taken:
            taken.bind(("", 0))
            port = taken.getsockname()[1]
        address, there = ray.util.get_node_ip_address(), Path(directory).is_dir()
        return {"address": address, "port": port, "there": there}

    def start(self, command: list[str], environment: dict[str, str], directory: str) -> None:
        """Start the supervisor with `environment`, and the devices that Ray gave to this actor."""
        devices = {name: value for name, value in os.environ.items() if name.endswith("_VISIBLE_DEVICES")}
        self.child = subprocess.Popen(
            [sys.executable, "-P", "-m", "qtune.processes.node", *command],
            cwd=directory,
            env={**environment, **devices},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ray signals the process group of a worker that is gone
        )
        threading.Thread(target=self._end_with_raylet, args=(os.getppid(),), daemon=True).start()

    def _end_with_raylet(self, raylet: int) -> None:
        """Ray takes a node for lost whose raylet is, and lets the raylet's workers be."""
        while os.getppid() == raylet:
            time.sleep(POLL_SECONDS)
        assert self.child.stdin is not None
        self.child.stdin.close()  # at which the supervisor ends everything
        self.child.wait()
        os._exit(1)

    def read(self) -> bytes:
        """What it printed since, waiting for it; nothing once it has ended."""
        assert self.child.stdout is not None
        return os.read(self.child.stdout.fileno(), 1 << 16)

    def say(self, line: str) -> None:
        assert self.child.stdin is not None
        with suppress(BrokenPipeError):
            self.child.stdin.write(f"{line}\n".encode())
            self.child.stdin.flush()

    def exit_code(self) -> int:
        return self.child.wait()


class Node:
    """One node as the driver sees it: its actor, its name in messages, and its unfinished line."""

    def __init__(self, rank: int, actor: Any, *, alone: bool) -> None:
        self.rank = rank
        self.actor = actor
        self.host = ""
        self.prefix = b"" if alone else f"[node {rank}] ".encode()
        self.unfinished = b""

    def __str__(self) -> str:
        return f"node {self.rank} ({self.host})" if self.host else f"node {self.rank}"

    def show(self, output: bytes) -> None:
        """Print it; of one among several whole lines, with its rank before them, and no line written over."""
        if self.prefix:
            *lines, self.unfinished = (self.unfinished + output).split(b"\n")
            last = (line.rstrip(b"\r").rsplit(b"\r", 1)[-1] for line in lines)
            output = b"".join(self.prefix + line + b"\n" for line in last)
        sys.stdout.buffer.write(output)
        sys.stdout.buffer.flush()

    def flush(self) -> None:
        if self.unfinished:
            self.show(b"\n")


def main() -> int:
    arguments = _arguments()
    said = _listen()
    if wrong := _unreachable(arguments.ray_init_kwargs.get("address") or os.environ.get("RAY_ADDRESS")):
        return _failed(wrong)
    try:
        # its own logging says little that concerns a training, and repeats what the nodes print
        ray.init(**{"log_to_driver": False, **arguments.ray_init_kwargs})
    except (RayError, ConnectionError, ValueError, TypeError, RuntimeError) as error:
        return _failed(f"RayError: cannot connect to the Ray cluster: {' '.join(str(error).split())}")
    _signals(said)  # ray.init sets handlers of its own
    bundles = [arguments.resources] * arguments.nnodes
    group = placement_group(bundles, strategy="STRICT_SPREAD")
    try:
        if (wrong := _placed(group, bundles, said)) is not None:
            return _failed(wrong)
        nodes = [
            Node(rank, _actor(group, rank, arguments.resources), alone=len(bundles) == 1)
            for rank in range(len(bundles))
        ]
        return _run(nodes, arguments.command, said)
    except NodeLost as error:
        return _failed(f"NodeDiedError: {error}")
    finally:
        remove_placement_group(group)
        ray.shutdown()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nnodes", type=int, required=True)
    parser.add_argument("--resources", type=json.loads, required=True, help="of each node's bundle, JSON")
    parser.add_argument("--ray_init_kwargs", type=json.loads, default={}, help="for ray.init, JSON")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def _failed(why: str) -> int:
    print(why, file=sys.stderr, flush=True)
    return 1


def _unreachable(address: str | None) -> str | None:
    """Why no cluster answers at HOST:PORT, which Ray itself says after minutes; None where one may."""
    match = re.fullmatch(r"([\w.-]+):(\d+)", address or "")
    if match is None:
        return None
    try:
        socket.create_connection((match[1], int(match[2])), CONNECTING_SECONDS).close()
    except OSError as error:
        return f"RayError: no Ray cluster answers at {address}: {error.strerror or error}"
    return None


def _listen() -> queue.SimpleQueue[str]:
    """What the keeper says, as it comes; an input that is no pipe has no keeper behind it."""
    said: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            said.put(line.strip())
        said.put("end")

    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=listen, daemon=True).start()
    return said


def _signals(said: queue.SimpleQueue[str]) -> None:
    """The first SIGINT or SIGTERM stops cleanly, the next one ends."""

    def note(number: int, frame: FrameType | None) -> None:
        said.put("end" if again else "stop")
        again.append(number)

    again: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)


def _said(said: queue.SimpleQueue[str]) -> str | None:
    try:
        return said.get_nowait()
    except queue.Empty:
        return None


def _placed(
    group: PlacementGroup, bundles: list[dict[str, float]], said: queue.SimpleQueue[str]
) -> str | None:
    """Wait for the placement; why it came to nothing, None once it stands.

    A cluster that is busy is waited for; one that has too little, even with all its nodes idle, is given
    PLACING_SECONDS to grow.
    """
    waited = 0.0
    while not group.wait(POLL_SECONDS):
        if _said(said) is not None:
            return "stopped while waiting for the Ray cluster's nodes"
        waited += POLL_SECONDS
        if waited < PLACING_SECONDS:
            continue
        waited = 0.0
        asked = f"{len(bundles)} {'node' if len(bundles) == 1 else 'nodes'} with {_words(bundles[0])} each"
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        fitting = [node for node in nodes if all(node.get(key, 0) >= n for key, n in bundles[0].items())]
        has = "; ".join(_words({key: node.get(key, 0) for key in ("CPU", "GPU")}) for node in nodes)
        there = "1 node has" if len(nodes) == 1 else f"{len(nodes)} nodes have"
        if len(fitting) < len(bundles):
            return f"RayError: the Ray cluster cannot place {asked}: its {there} {has}"
        print(f"waiting for {asked}: the Ray cluster is busy", flush=True)
    return None


def _words(resources: dict[str, float]) -> str:
    return ", ".join(f"{value:g} {key}" for key, value in resources.items())


def _actor(group: PlacementGroup, rank: int, resources: dict[str, float]) -> Any:
    more = {key: value for key, value in resources.items() if key not in ("CPU", "GPU")}
    return (
        ray.remote(Supervised)
        .options(
            num_cpus=resources.get("CPU", 0),
            num_gpus=resources.get("GPU", 0),
            resources=more,
            max_concurrency=4,
            runtime_env={"env_vars": WORKER_SETTINGS},
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
        )
        .remote()
    )


def _run(nodes: list[Node], command: list[str], said: queue.SimpleQueue[str]) -> int:
    directory = str(Path.cwd())
    places = _all(nodes, [node.actor.place.remote(directory) for node in nodes])
    for node, place in zip(nodes, places, strict=True):
        node.host = place["address"]
        if not place["there"]:
            return _failed(
                f"FileNotFoundError: {node} has no {directory}: the project has to lie on a file system "
                "that all nodes share"
            )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["MASTER_ADDR"] = places[0]["address"]
    environment.setdefault("MASTER_PORT", str(places[0]["port"]))
    started = [
        node.actor.start.remote(command, {**environment, "NODE_RANK": str(node.rank)}, directory)
        for node in nodes
    ]
    _all(nodes, started)
    return _follow(nodes, said)


class NodeLost(Exception):
    """A node that Ray cannot reach any longer."""


def _all(nodes: list[Node], answers: list[Any]) -> list[Any]:
    """The answer of each node. Raises NodeLost."""
    found = []
    for node, answer in zip(nodes, answers, strict=True):
        try:
            found.append(ray.get(answer))
        except RayError as error:
            raise NodeLost(f"{node} is gone: {_reason(error)}") from None
    return found


def _follow(nodes: list[Node], said: queue.SimpleQueue[str]) -> int:
    """Print what the nodes print until all have ended; when one fails, end the others."""
    reading = {node.actor.read.remote(): node for node in nodes}
    failed, lost = 0, ""
    while reading:
        if (line := _said(said)) is not None:
            _tell(reading.values(), line)
        ready, _ = ray.wait(list(reading), timeout=POLL_SECONDS)
        for read in ready:
            node = reading.pop(read)
            try:
                if output := ray.get(read):
                    node.show(output)
                    reading[node.actor.read.remote()] = node
                    continue
                node.flush()
                code = ray.get(node.actor.exit_code.remote())
                why = f"{node} ended with exit code {code}"
            except RayError as error:
                code, why = 1, f"{node} is gone: {_reason(error)}"
                lost = lost or why  # which Ray may notice after the others lost their connection to it
            if code:
                print(why + ("; ending the others" if reading and not failed else ""), flush=True)
                _tell(reading.values(), "end")
                failed = failed or code
    if lost:
        _failed(f"NodeDiedError: {lost}")
    return failed


def _tell(nodes: Any, line: str) -> None:
    for node in nodes:
        node.actor.say.remote(line)


def _reason(error: RayError) -> str:
    """The sentence of Ray's long message that tells what died, and how."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line.startswith(("The actor", "the actor"))]
    return " ".join(told[-2:]).partition(". Some common")[0] or lines[0]


if __name__ == "__main__":
    sys.exit(main())
