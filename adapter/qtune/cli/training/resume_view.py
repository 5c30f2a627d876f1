"""Says what a resumed run finds before it goes on."""

from __future__ import annotations

from collections.abc import Sequence

from qtune.cli.output import note
from qtune.cli.presets.diff import shown_lines
from qtune.prepare.compare import Difference
from qtune.runs.checkpoints import set_aside
from qtune.runs.find import shown
from qtune.training.resuming import Resumption


def show_what_differs(found: Resumption) -> bool:
    """Say what is no longer as the run recorded it; returns whether that makes it another training."""
    for line in found.elsewhere:
        note(f"note: {line}")
    _show("it would go on with other values", found.differences)
    _show("the project's files give other values now; going on keeps the recorded ones", found.edited)
    if found.data:
        note(f"{found.run.name}: its data changed: {', '.join(found.data)}")
    return bool(found.differences or found.edited or found.data)


def set_aside_broken(found: Resumption) -> None:
    """Move incomplete newer checkpoints to where the library does not look, and say so of each."""
    for checkpoint in found.broken:
        why, moved = checkpoint.flaw, set_aside(checkpoint)
        note(f"{checkpoint.path.name} is not complete ({why}): set aside as {shown(moved)}")


def announce_resumed(found: Resumption) -> None:
    name = shown(found.run.directory)
    if found.checkpoint is None:
        note(f"{name} has no complete checkpoint: training from the beginning, in the same run")
    else:
        note(f"going on with {name} from {found.checkpoint.path.name}")
        if found.checkpoint.is_ahead:
            note("ZeRO had updated the weights for the step in which it was stopped: it is made once more")


def _show(title: str, differences: Sequence[Difference]) -> None:
    if differences:
        note(f"{title}:")
    for difference in differences:
        for line in shown_lines(difference):
            note(f"  {line}")
