"""Whether this machine can train a prepared config: the doctor's whole report, and its quick part."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qtune.errors import QtuneError
from qtune.machine.allocator import grows
from qtune.machine.hub import why_unreachable
from qtune.machine.stack import installed_stack, version
from qtune.prepare.pipeline import Prepared
from qtune.processes import process

if TYPE_CHECKING:
    from qtune.doctor.facts import Facts
    from qtune.doctor.host import Demand
    from qtune.doctor.line import Line
    from qtune.predict.memory.estimate import Estimate

_HUB_SECONDS = 3.0


def doctor(prepared: Prepared, shows: str) -> list[Line]:
    """Whether this machine can train it: every verdict, some of which take a child process seconds.

    shows: the command that shows every finding about it.
    """
    from qtune.doctor import examine, probe

    facts = _facts(prepared)
    hub = facts.hub
    unreachable = None if hub.offline else why_unreachable(hub.endpoint, _HUB_SECONDS)
    probed = probe.ask(process.likely_python())
    return examine(facts, probed, unreachable, prepared.findings, prepared.config.name, shows)


def elsewhere(prepared: Prepared, shows: str) -> list[Line]:
    """What can be told of the machine that it was prepared for, where that is not this one.

    shows: as `doctor` has it.
    """
    from qtune.doctor import config_line
    from qtune.doctor.elsewhere import lines_elsewhere
    from qtune.doctor.needs import needs_of

    config = prepared.config
    needs = needs_of(config, prepared.hardware, prepared.registrations, prepared.project.root)
    lines = lines_elsewhere(prepared.hardware, needs, estimated(prepared))
    return [*lines, config_line(config.name, prepared.findings, shows)]


def preflight(prepared: Prepared, held: int = 0) -> list[Line]:
    """The verdicts that are no `ok`, of those that take no import of torch; none where nothing can train.

    held: bytes of its checkpoints that are there already, where it goes on with a run.
    """
    from qtune.doctor import preflight

    return preflight(_facts(prepared, held), version) if installed_stack() is not None else []


def estimated(prepared: Prepared, free: int | None = None) -> Estimate | None:
    """What it needs; None where the config is wrong, or nothing tells of the model's shapes.

    free: bytes of host memory, None where nobody knows.
    """
    from qtune.architectures import load_named
    from qtune.predict.memory.total import estimate

    if prepared.errors:
        return None
    try:
        model = load_named(prepared.config.block("train"), prepared.project.root)
    except QtuneError:
        return None
    return estimate(prepared.config, model, prepared.hardware, free, grows=grows(os.environ))


def _facts(prepared: Prepared, held: int = 0) -> Facts:
    from qtune.doctor.facts import gather
    from qtune.doctor.needs import needs_of

    project, config = prepared.project, prepared.config
    needs = needs_of(config, prepared.hardware, prepared.registrations, project.root)
    return gather(
        needs,
        prepared.findings,
        project.root,
        project.runs,
        process.likely_python(),
        _demand(prepared, held),
        rendered=bool(prepared.files),
    )


def _demand(prepared: Prepared, held: int) -> Demand:
    from qtune.doctor.host import Demand

    found = estimated(prepared)
    if found is None:
        return Demand()
    return Demand(
        found.gpu.expected, found.host.expected, found.checkpoint, max(found.checkpoint, found.disk - held)
    )
