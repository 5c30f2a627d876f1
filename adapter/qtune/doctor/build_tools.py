"""Verdicts on what DeepSpeed compiles with, and on the packages that some presets use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from qtune.doctor.line import TRAINING_STACK, Line, severity
from qtune.doctor.needs import Needs
from qtune.doctor.probe import Part, Probe
from qtune.doctor.versions import release
from qtune.values import Finding


@dataclass(frozen=True)
class Tools:
    """What lies on this machine to compile with; compiler, ninja, nvcc: their paths; cuda_home: of CUDA's
    toolkit, as torch looks for it; libaio: whether its header is where compilers look; left_over: locks of
    compiles that are no more."""

    compiler: str | None = None
    ninja: str | None = None
    cuda_home: str | None = None
    libaio: bool = False
    left_over: Sequence[Path] = ()


def compiler_line(tools: Tools, rules: Mapping[str, Finding]) -> Line:
    """rules: findings about the config by rule; the one about a missing compiler decides how bad that is."""
    if tools.compiler is not None:
        return Line("compiler", "ok", tools.compiler)
    finding = rules.get("offload-needs-compiler")
    if finding is not None:
        return Line("compiler", "failure", finding.message, finding.fix)
    says = "no C++ compiler: DeepSpeed cannot offload, nor run on a CPU, without one"
    return Line("compiler", "warning", says, "install one (Debian: apt-get install g++), or name it in CXX")


def ninja_line(tools: Tools, needs: Needs) -> Line:
    """DeepSpeed asks for it whether or not there is something to compile (OpBuilder.jit_load)."""
    if tools.ninja is not None:
        return Line("ninja", "ok", tools.ninja)
    says = "no ninja, by which DeepSpeed compiles its operations"
    return Line("ninja", severity(needs.operations), says, "install it: pip install ninja")


def cuda_home_line(tools: Tools, needs: Needs, probe: Probe | None, *, gpus: bool) -> Line:
    """CUDA's toolkit, with which DeepSpeed compiles its offloading on a machine with GPUs.

    Its CPU Adam and its NVMe access are linked against it (op_builder/builder.py, TorchCPUOpBuilder and
    installed_cuda_version). probe: None where it was not asked.
    """
    subject = "CUDA toolkit"
    if tools.cuda_home is None:
        if not gpus:
            return Line(subject, "ok", "none, and no GPU that needs one")
        says = "no nvcc and no CUDA_HOME: DeepSpeed cannot compile its offloading"
        fix = "install CUDA's toolkit of torch's version and set CUDA_HOME, or use a preset without offload"
        return Line(subject, severity(needs.cuda_home), says, fix)
    problem = probe.problems.get("nvcc") if probe else None
    if problem is not None:
        fix = "set CUDA_HOME to the directory of a toolkit with bin/nvcc"
        return Line(subject, severity(needs.cuda_home), f"{tools.cuda_home} is of no use: {problem}", fix)
    if probe is None or probe.nvcc is None:
        return Line(subject, "ok", tools.cuda_home)
    says = f"{probe.nvcc} in {tools.cuda_home}"
    if gpus and probe.cuda is not None and release(probe.nvcc)[:1] != release(probe.cuda)[:1]:
        fix = f"install CUDA's toolkit {probe.cuda} and set CUDA_HOME to it"
        return Line(subject, "warning", f"{says}, but torch is built for {probe.cuda}", fix)
    return Line(subject, "ok", says)


def async_io_line(tools: Tools, rules: Mapping[str, Finding], needs: Needs) -> Line:
    subject = "async I/O"
    finding = rules.get("nvme-needs-libaio")
    if finding is not None:
        return Line(subject, "failure", finding.message, finding.fix)
    if tools.libaio:
        return Line(subject, "ok", "libaio's headers are here, for offloading to NVMe")
    if needs.nvme:
        fix = "install them (Debian: apt-get install libaio-dev), or offload to the CPU"
        return Line(subject, "failure", "no headers of libaio, which NVMe offload compiles with", fix)
    return Line(subject, "ok", "no headers of libaio: only offloading to NVMe needs them")


def deepspeed_line(part: Part, problems: Mapping[str, str], needs: Needs) -> Line:
    subject = "DeepSpeed"
    if part.error is not None:
        fix = f"install it: {TRAINING_STACK}; presets without `zero:` need none"
        return Line(subject, severity(needs.zero), f"cannot be imported: {part.error}", fix)
    if "cpu_adam" in problems:
        fix = "see the compiler's and the toolkit's lines"
        return Line(subject, "warning", f"{part.version}, without its CPU Adam: {problems['cpu_adam']}", fix)
    if needs.compiles:
        what = " and ".join(needs.compiles)
        return Line(subject, "ok", f"{part.version}; will compile {what} once, which takes minutes")
    return Line(subject, "ok", part.version or "")


def left_over_lines(tools: Tools) -> list[Line]:
    """A line where a compile that was killed left its lock, at which a training started by hand waits."""
    if not tools.left_over:
        return []
    says = "what loads an extension waits for ever for a compile that was killed: its lock is still there"
    locks = " ".join(quote(str(lock)) for lock in tools.left_over)
    return [Line("compile lock", "warning", says, f"rm {locks}; `qtune train` does so by itself")]


def bitsandbytes_line(part: Part, needs: Needs) -> Line:
    subject = "bitsandbytes"
    if part.error is not None:
        fix = "install it for this torch: pip install --force-reinstall bitsandbytes; or train without 4 bit"
        return Line(subject, severity(needs.quantizes), f"cannot quantise: {part.error}", fix)
    return Line(subject, "ok", f"{part.version}, quantises to 4 bit and back")


def flash_attention_line(part: Part, needs: Needs) -> Line:
    """The rule about a missing one is a warning, because LLaMA-Factory goes on without it."""
    subject = "flash attention"
    if part.error is None:
        return Line(subject, "ok", part.version or "imports")
    fix = "set flash_attn: auto, or build flash-attn for this torch"
    if not part.error.startswith("ModuleNotFoundError: No module named 'flash_attn'"):
        # transformers takes it where it is installed, and ends there
        return Line(subject, severity(needs.flash_attention), f"does not import: {part.error}", fix)
    if needs.flash_attention:
        return Line(subject, "warning", "not installed, and the preset asks for it", fix)
    return Line(subject, "ok", "not installed: torch's own attention is used")
