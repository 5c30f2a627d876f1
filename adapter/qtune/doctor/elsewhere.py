"""Verdicts on a machine that --hardware names: what a training takes of it, and what it has to have."""

from __future__ import annotations

from collections.abc import Iterator

from qtune.doctor.line import TRAINING_STACK, Line
from qtune.doctor.needs import Needs
from qtune.machine.hardware import Hardware
from qtune.predict.memory.estimate import Estimate
from qtune.units import size_text


def lines_elsewhere(hardware: Hardware, needs: Needs, found: Estimate | None) -> Iterator[Line]:
    """A line for each thing that can be told from here. found: None where nothing tells what it takes."""
    yield Line("GPUs", "ok", "none: it trains on the CPU" if hardware.is_cpu else hardware.described)
    if found is None:
        fix = f"mend what is said of the preset, or see what `qtune estimate {needs.config}` says"
        yield Line("memory", "warning", "what the training takes is not known", fix)
    else:
        if needs.gpu:
            yield _gpu_memory(hardware, needs, found)
        unknown = "how much is free there is not known here"
        yield Line("host memory", "ok", f"about {size_text(found.host.expected)} taken; {unknown}")
        yield Line("disk", "ok", f"its checkpoints take {size_text(found.disk)}; {unknown}")
    tools = {
        "DeepSpeed": needs.zero,
        "bitsandbytes": needs.quantizes,
        "flash-attn": needs.flash_attention,
        "a C++ compiler": needs.operations,
        "CUDA's toolkit": needs.cuda_home,
        "libaio": needs.nvme,
    }
    needed = ["LLaMA-Factory and its stack", *(name for name, is_needed in tools.items() if is_needed)]
    yield Line("packages", "ok", f"to be there: {', '.join(needed)} ({TRAINING_STACK})")
    if needs.model is not None:
        yield Line("model", "ok", f"{needs.model} has to be in the hub's cache there, or the hub in reach")


def _gpu_memory(hardware: Hardware, needs: Needs, found: Estimate) -> Line:
    """Never a failure: the estimate takes every row to be as long as cutoff_len."""
    subject = "GPU memory"
    says = f"about {size_text(found.gpu.expected)} needed of the {size_text(hardware.gpu_memory)} of each GPU"
    if found.gpu.verdict(hardware.gpu_memory) == "fits":
        return Line(subject, "ok", says)
    on = f"--hardware {hardware}"
    fix = f"`qtune estimate {needs.config} {on}` shows what takes it, `qtune recommend {on}` what fits"
    return Line(subject, "warning", f"{says}, and up to {size_text(found.gpu.high)}", fix)
