"""Verdicts on memory, shared memory, open files and disk."""

from __future__ import annotations

from dataclasses import dataclass

from qtune.doctor.line import Line
from qtune.doctor.needs import Needs
from qtune.machine.host import Host, Volume
from qtune.units import size_text

_LEAST_SHARED = 1 << 30
_LEAST_FILES = 1024


@dataclass(frozen=True)
class Demand:
    """What the estimate says that the training takes, in bytes; None where nothing tells.

    gpu: of each GPU; host: of all processes; checkpoint: one; disk: all that is kept at a time.
    """

    gpu: int | None = None
    host: int | None = None
    checkpoint: int | None = None
    disk: int | None = None


def memory_line(host: Host, demand: Demand) -> Line:
    subject = "host memory"
    is_limited = host.limit is not None and host.limit <= host.memory_total
    limited = ", which the control group sets" if is_limited else ""
    says = f"{size_text(host.memory_available)} free of {size_text(host.memory_total)}{limited}"
    if demand.host is not None and demand.host > host.memory_available:
        says += f"; the training takes about {size_text(demand.host)}"
        fix = "end other programs, use fewer workers or processes, or a preset that offloads less"
        return Line(subject, "warning", says, fix)
    return Line(subject, "ok", says)


def shared_memory_line(host: Host, needs: Needs) -> Line:
    """Loader workers hand rows over in it (torch/multiprocessing), NCCL talks through it between GPUs."""
    subject = "shared memory"
    if host.shared_memory is None:
        return Line(subject, "ok", "no /dev/shm on this system")
    says = f"{size_text(host.shared_memory)} in /dev/shm"
    if host.shared_memory >= _LEAST_SHARED or (not needs.workers and needs.processes == 1):
        return Line(subject, "ok", says)
    fix = "give the container more: docker run --shm-size=8g, or --ipc=host; or set dataloader_num_workers: 0"
    return Line(subject, "warning", f"{says}, through which loader workers and GPUs exchange data", fix)


def open_files_line(host: Host) -> Line:
    soft, hard = host.open_files
    says = f"{soft:,} for a process" if 0 <= soft < 1 << 30 else "no limit"
    if 0 <= soft < _LEAST_FILES:
        fix = f"raise it: ulimit -n {min(65536, hard) if hard > 0 else 65536}"
        return Line("open files", "warning", f"{says}, which loader workers exhaust", fix)
    return Line("open files", "ok", says)


def disk_line(volume: Volume, demand: Demand, runs: str) -> Line:
    """runs: the directory that trainings write to, as the project names it."""
    subject = "disk"
    if not volume.writable:
        fix = "name another directory as `runs:` in qtune.yaml, or mend the permissions"
        return Line(subject, "failure", f"{volume.path}, where {runs} lies, cannot be written to", fix)
    if volume.free is None:
        return Line(subject, "warning", f"the free space of {runs} cannot be told", None)
    says = f"{size_text(volume.free)} free for {runs}"
    room = "make room, name another directory as `runs:` in qtune.yaml"
    for taken, takes, less in (
        (demand.checkpoint, "one checkpoint takes", "save_only_model: true"),
        (demand.disk, "its checkpoints take", "save_total_limit: 1"),
    ):
        if taken is not None and volume.free < taken:
            lacks = f"{says}, but {takes} {size_text(taken)}"
            return Line(subject, "failure", lacks, f"{room}, or set {less}")
    kept = f"; its checkpoints take {size_text(demand.disk)}" if demand.disk is not None else ""
    return Line(subject, "ok", f"{says}{kept}")
