"""What a command says of several nodes: how many there are, and where they meet."""

from __future__ import annotations

import re
from dataclasses import replace

from qtune.importing.parts import Translation, noted, refused, warned
from qtune.values import Origin, Value

_NUMBERS = ("nnodes", "master_port", "max_restarts", "min_nnodes", "max_nnodes")
# Other launchers' options and the variables of LLaMA-Factory's own, by torchrun's name.
NODE_OPTIONS = {
    **{name: name for name in (*_NUMBERS, "master_addr", "rdzv_id", "rdzv_conf", "rdzv_endpoint")},
    "num_nodes": "nnodes",
    "num_machines": "nnodes",
    "main_process_ip": "master_addr",
    "main_process_port": "master_port",
}
RANKS = ("node_rank", "machine_rank", "rank")
_ENDPOINT = re.compile(r"(?P<address>.+):(?P<port>\d+)")
_RANGE = re.compile(r"(?P<least>\d+):(?P<most>\d+)")


def node_option(key: str, text: str, origin: Origin) -> Translation:
    """One of NODE_OPTIONS, as a preset has it."""
    name = NODE_OPTIONS[key]
    if name == "rdzv_endpoint":
        match = _ENDPOINT.fullmatch(text)
        if match is None:
            return _launch("master_addr", text, origin)
        part = _launch("master_addr", match["address"], origin)
        return part + _launch("master_port", int(match["port"]), origin)
    if name == "nnodes" and (match := _RANGE.fullmatch(text)) is not None and match["least"] != match["most"]:
        bounds = _launch("min_nnodes", int(match["least"]), origin)
        bounds += _launch("max_nnodes", int(match["most"]), origin)
        return bounds + _launch("nnodes", int(match["most"]), origin)
    if name in _NUMBERS:
        number = text.rpartition(":")[2]
        if not number.isdigit():
            return refused(key, f"`{text}` is no number", "write a number there", origin)
        return _launch(name, int(number), origin)
    return _launch(name, text, origin)


def unknown_option(key: str, origin: Origin) -> Translation:
    """A note about one of NODE_OPTIONS whose value only the script's environment gives."""
    name = NODE_OPTIONS.get(key, key)
    return noted(key, f"left out: where several nodes train, set launch.{name} at the start", origin)


def rank(key: str, origin: Origin) -> Translation:
    """A note about one of RANKS, which no preset has."""
    return noted(key, "left out: each node says its own, `qtune train --node-rank`", origin)


def settled(part: Translation, *, job: int) -> Translation:
    """The part with what it says of nodes kept where there are several, and left out where there is one.

    job: the nodes of the cluster's job, which have an address from it; 0 outside of one.
    """
    said = {path: value for path, value in part.values.items() if path[1] in NODE_OPTIONS}
    nnodes = said.get(("launch", "nnodes"))
    if (job if nnodes is None else nnodes.value) <= 1:
        part = replace(part, values={path: item for path, item in part.values.items() if path not in said})
        keys = ", ".join(path[1] for path in said)
        return (
            part + noted(keys, "left out: one node needs none", next(iter(said.values())).origin)
            if said
            else part
        )
    missing = [key for key in ("master_addr", "master_port") if ("launch", key) not in said]
    if missing and not job:
        keys = " and ".join(f"launch.{key}" for key in missing)
        fix = "set it before you train"
        part += warned("nnodes", f"several nodes, and no {keys}", fix, said["launch", "nnodes"].origin)
    return part


def _launch(name: str, value: str | int, origin: Origin) -> Translation:
    return Translation({("launch", name): Value(value, origin)})
