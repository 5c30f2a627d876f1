"""Verdicts on what starts the processes of a training, and where its nodes meet."""

from __future__ import annotations

from pathlib import Path

from qtune.doctor.line import Line
from qtune.machine.network import Meeting


def launcher_line(library: Path) -> Line:
    """library: LLaMA-Factory's package, whose path its launcher splits at spaces (launcher.py, launch)."""
    if len(str(library).split()) > 1:
        says = f"LLaMA-Factory's launcher splits its own path, {library}, at the space in it"
        fix = "install the training stack where the path has no space; the project's own path may have some"
        return Line("launcher", "failure", says, fix)
    return Line("launcher", "ok", "torchrun, by LLaMA-Factory's launcher")


def meeting_line(meeting: Meeting) -> Line:
    subject, place = "nodes", f"{meeting.address}:{meeting.port}"
    if meeting.unknown:
        says = f"the address {meeting.address} of node 0 is not known here: {meeting.unknown}"
        fix = "set launch.master_addr to an address or name that all nodes know"
        return Line(subject, "failure", says, fix)
    if meeting.taken:
        says = f"port {meeting.port}, at which the nodes would meet, is in use on this machine"
        fix = "set launch.master_port to a free one, the same on all nodes, or end what listens there"
        return Line(subject, "failure", says, fix)
    return Line(subject, "ok", f"they meet at {place}")
