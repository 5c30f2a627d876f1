"""Verdicts on where the nodes of a training meet."""

from __future__ import annotations

from qtune.doctor.line import Line
from qtune.machine.network import Meeting


def meeting_line(meeting: Meeting) -> Line:
    subject, place = "nodes", f"{meeting.address}:{meeting.port}"
    if meeting.unknown:
        says = f"the address {meeting.address} of node 0 is not known here: {meeting.unknown}"
        return Line(
            subject, "failure", says, "set launch.master_addr to an address or name that all nodes know"
        )
    if meeting.taken:
        says = f"port {meeting.port}, at which the nodes would meet, is in use on this machine"
        fix = "set launch.master_port to a free one, the same on all nodes, or end what listens there"
        return Line(subject, "failure", says, fix)
    return Line(subject, "ok", f"they meet at {place}")
