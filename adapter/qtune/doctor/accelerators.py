"""Verdicts on the driver, and on each GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qtune.doctor.line import Line, severity
from qtune.doctor.needs import Needs
from qtune.doctor.probe import Device
from qtune.machine.gpus import Gpu, Gpus
from qtune.machine.hardware import seen
from qtune.machine.makers import Accelerators
from qtune.units import counted, size_text

_NEEDS_MUCH = 0.1  # of a GPU's memory in others' hands: worth a word
_MOST_OCCUPANTS = 4
_KINDS = {"cuda": "CUDA", "npu": "Ascend"}


def driver_line(gpus: Gpus, torch_cuda: str | None, torch_version: str | None, *, needed: bool) -> Line:
    """Whether the driver runs the CUDA that torch was built for; needed: whether the config asks for GPUs.

    Within a major version any driver does (CUDA's "minor version compatibility").
    """
    subject, level = "driver", severity(needed)
    if gpus.driver is None and not gpus.installed:
        return Line(subject, "ok", "no NVIDIA driver here")
    cuda = ".".join(map(str, gpus.cuda)) if gpus.cuda else "an unknown CUDA"
    says = f"NVIDIA {gpus.driver}, for CUDA up to {cuda}"
    if torch_version is None:
        return Line(subject, "ok", says)
    if torch_cuda is None:
        fix = "install a CUDA build of torch, torchvision and torchaudio; pip's ordinary ones are"
        return Line(subject, level, f"{says}, but torch {torch_version} is built without CUDA", fix)
    if gpus.cuda is not None and int(torch_cuda.split(".")[0]) > gpus.cuda[0]:
        fix = f"install a newer driver, or builds of torch and its packages for CUDA {gpus.cuda[0]}"
        return Line(subject, level, f"{says}, but torch {torch_version} needs CUDA {torch_cuda}", fix)
    return Line(subject, "ok", f"{says}; torch is built for {torch_cuda}")


def gpu_lines(gpus: Gpus, needs: Needs, *, hidden: str | None) -> list[Line]:
    """One for each GPU in sight; hidden: CUDA_VISIBLE_DEVICES, where it is set."""
    if not gpus.devices:
        if gpus.installed:
            says = f"CUDA_VISIBLE_DEVICES={hidden} hides all {gpus.installed}: trainings run on the CPU"
            return [Line("GPUs", "warning", says, "unset it, or name some: CUDA_VISIBLE_DEVICES=0")]
        if needs.gpu:  # which may be another maker's: the config was made for some by --hardware
            says = "no NVIDIA GPU here, and the config is one for GPUs"
            return [Line("GPUs", "warning", says, "render it without --hardware, for this machine")]
        return [Line("GPUs", "ok", "no NVIDIA GPU: trainings run on the CPU")]
    lines = [_gpu_line(number, gpu) for number, gpu in enumerate(gpus.devices)]
    if needs.gpu and needs.processes > len(gpus.devices):
        seen = counted(len(gpus.devices), "GPU")
        says = f"{needs.processes} processes, and {seen} in sight: each takes one"
        fix = "render it without --hardware, for this machine, or set launch.nproc_per_node: auto"
        lines.append(Line("processes", "failure", says, fix))
    return lines


def others_line(others: Accelerators, needs: Needs, *, rendered: bool) -> Line:
    """Accelerators of another maker than NVIDIA; rendered: whether the config was rendered already.

    What is not stops at them: see qtune.machine.makers.this_machine.
    """
    subject, says = "GPUs", f"{others}; qtune does not ask them"
    if not needs.gpu:
        fix = f"name them where the preset is rendered: `qtune render {needs.config} {others.option}`"
        return Line(subject, severity(not rendered), f"{says}, and the config is one for a CPU", fix)
    if others.count is not None and needs.processes > others.count:
        fix = f"name as many as there are: {others.option}"
        return Line(subject, "warning", f"{says}, and each of {needs.processes} processes takes one", fix)
    return Line(subject, "ok", says)


def _gpu_line(number: int, gpu: Gpu) -> Line:
    words = [gpu.name or "unknown"]
    if gpu.memory_total is not None:
        free = f", {size_text(gpu.memory_free)} free" if gpu.memory_free is not None else ""
        words.append(f"{size_text(gpu.memory_total)}{free}")
    if gpu.capability is not None:
        words.append(f"capability {gpu.capability[0]}.{gpu.capability[1]}")
        words.append("bf16" if gpu.bf16 else "no bf16: trains in fp16")
    says, subject = ", ".join(words), f"GPU {number}"
    taken = (gpu.memory_total or 0) - (gpu.memory_free or 0) if gpu.memory_free is not None else 0
    if not gpu.occupants and taken <= _NEEDS_MUCH * (gpu.memory_total or 0):
        return Line(subject, "ok", says)
    who = ", ".join(_occupants(gpu)) or "processes that cannot be seen from here"
    fix = "end them or wait for them, or choose other GPUs by CUDA_VISIBLE_DEVICES"
    return Line(subject, "warning", f"{says}; occupied by {who}", fix)


def gpu_memory_line(gpus: Gpus, expected: int | None) -> Line | None:
    """Whether what the estimate expects of each GPU is free; None where either is not known.

    Never a failure: the estimate takes every row to be as long as cutoff_len.
    """
    free = min((gpu.memory_free for gpu in gpus.devices if gpu.memory_free is not None), default=None)
    if free is None or not expected:
        return None
    says = f"about {size_text(expected)} of {size_text(free)} free on each GPU"
    if expected <= free:
        return Line("GPU memory", "ok", says)
    fix = "`qtune estimate` shows what takes it, `qtune recommend` what fits"
    return Line("GPU memory", "warning", says, fix)


def _occupants(gpu: Gpu) -> Iterator[str]:
    for occupant in gpu.occupants[:_MOST_OCCUPANTS]:
        name = f" {occupant.name.rsplit('/', 1)[-1]}" if occupant.name else ""
        memory = f" ({size_text(occupant.memory)})" if occupant.memory is not None else ""
        yield f"pid {occupant.pid}{name}{memory}"
    if len(gpu.occupants) > _MOST_OCCUPANTS:
        yield f"{len(gpu.occupants) - _MOST_OCCUPANTS} more"


def torch_device_lines(
    kind: str | None, hip: str | None, devices: Sequence[Device], gpus: Gpus, *, needed: bool
) -> list[Line]:
    """Whether torch computes on what the driver shows; in full what only torch knows (AMD, Ascend)."""
    subject = "torch's GPUs"
    if not devices:
        if not gpus.devices:
            return []
        fix = "`python -c 'import torch; torch.cuda.init()'` says why; mostly it is the driver, or the build"
        return [Line(subject, severity(needed), f"torch sees none of {len(gpus.devices)}", fix)]
    broken = [f"{number}: {device.error}" for number, device in enumerate(devices) if device.error]
    if broken:
        fix = "build of torch and GPU must match, and its memory be free: compare the lines above"
        return [Line(subject, severity(needed), f"do not compute: {'; '.join(broken)}", fix)]
    if gpus.devices:
        return [Line(subject, "ok", f"all {len(devices)} compute")]
    name = "AMD" if hip is not None else _KINDS.get(kind or "")
    shown = ", ".join(
        f"{device.name} ({size_text(device.memory or 0)}{', bf16' if device.bf16 else ''})"
        for device in devices
    )
    says = f"{name}: {shown}"
    if needed:
        return [Line(subject, "ok", says)]
    smallest = min(devices, key=lambda device: device.memory or 0)
    option = f"--hardware {seen(len(devices), smallest.memory or 0, smallest.name)}"
    says += "; qtune decides `auto` by itself for NVIDIA GPUs and CPUs only"
    return [Line(subject, "warning", says, f"name them where a preset is rendered: {option}")]
