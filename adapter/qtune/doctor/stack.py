"""Verdicts on Python, the training's packages, and torch's builds."""

from __future__ import annotations

import re
from collections.abc import Mapping

from qtune.doctor.line import TRAINING_STACK, Line
from qtune.doctor.probe import Part
from qtune.doctor.versions import in_range, release
from qtune.schema.library import Package, packages

OLDEST_PYTHON = (3, 11)
BUILDS = ("torch", "torchvision", "torchaudio")
_TAG = re.compile(r"\+(cpu|cu|rocm|xpu)(\d*)")
# Without these a training still starts: bitsandbytes' and DeepSpeed's own lines say what they are for.
_OPTIONAL = ("deepspeed", "bitsandbytes")


def python_line(version: str | None, executable: str | None) -> Line:
    subject = "Python"
    if version is None:
        says = "the training's Python does not start"
        return Line(subject, "failure", says, f"mend it, or {TRAINING_STACK}")
    if release(version) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        says = f"{version}, and LLaMA-Factory needs {oldest} or later ({executable})"
        return Line(subject, "failure", says, f"make an environment with Python {oldest} or later")
    return Line(subject, "ok", f"{version} ({executable})")


def package_lines(versions: Mapping[str, str], *, gates_off: bool) -> list[Line]:
    """One line where all is as it should be, else one for each package that is not.

    versions: of what is installed; gates_off: whether DISABLE_VERSION_CHECK is set.
    """
    known = packages().values()
    lines = [line for package in known if (line := _package_line(package, versions, gates_off=gates_off))]
    if lines:
        return lines
    others = [
        f"{package.name} {versions[package.name]} ({package.tested})"
        for package in known
        if package.name in versions and release(versions[package.name]) != release(package.tested)
    ]
    tested = f"LLaMA-Factory {versions['llamafactory']} and its stack, in the ranges that work together"
    return [Line("packages", "ok", f"{tested}; other than tested: {', '.join(others)}" if others else tested)]


def _package_line(package: Package, versions: Mapping[str, str], *, gates_off: bool) -> Line | None:
    installed = versions.get(package.name)
    if installed is None:
        if package.name in _OPTIONAL:
            return None
        return Line(package.name, "failure", "is not installed", f"install it: {TRAINING_STACK}")
    fix = f"install the tested one: pip install {package.name}=={package.tested}"
    if package.gate is not None and not in_range(installed, package.gate):
        says = f"{installed}, and LLaMA-Factory wants {package.gate}"
        if gates_off:
            return Line(package.name, "warning", f"{says}; DISABLE_VERSION_CHECK hides it", fix)
        return Line(package.name, "failure", f"{says}, and refuses to start", fix)
    if not in_range(installed, package.range):
        return Line(package.name, "warning", f"{installed} is known not to fit: {package.range} does", fix)
    return None


def builds_line(parts: Mapping[str, Part], *, imported: bool) -> Line:
    """Whether torch, torchvision and torchaudio are of one build.

    imported: whether each part was really imported, which proves more than its version. torchvision 0.(N+15)
    belongs to torch 2.N, torchaudio has torch's number (the tables in both projects' README).
    """
    subject = "torch's builds"
    there = {name: part for name, part in parts.items() if name in BUILDS}
    torch = there.get("torch", Part())
    versions = ", ".join(f"{name} {part.version}" for name, part in there.items() if part.version)
    fix = _install_together(torch.version)
    for name, part in there.items():
        if part.error is not None and not _is_absent(name, part):
            says = f"{name} fails to import: {part.error}"
            return Line(subject, "failure", f"{says} ({versions})" if versions else says, fix)
    if _is_absent("torch", torch) or torch.version is None:
        return Line(subject, "failure", "torch is not installed", f"install it: {TRAINING_STACK}")
    absent = [name for name in BUILDS if name not in there or _is_absent(name, there[name])]
    if found := _mismatches(there):
        certain = not imported and any(sure for _, sure in found)
        says = "; ".join(said for said, _ in found)
        more = ": they import, but may fail when used" if imported else ""
        return Line(subject, "failure" if certain else "warning", says + more, fix)
    if absent:
        return Line(subject, "warning", f"{' and '.join(absent)} not installed beside {versions}", fix)
    return Line(subject, "ok", versions)


def _is_absent(name: str, part: Part) -> bool:
    return part.error == f"ModuleNotFoundError: No module named '{name}'"


def _mismatches(parts: Mapping[str, Part]) -> list[tuple[str, bool]]:
    """(what does not match, whether a training fails on it for certain)."""
    torch = parts["torch"].version or ""
    found = []
    for name in BUILDS[1:]:
        version = parts[name].version if name in parts else None
        if not version:
            continue
        wanted = _partner(name, torch)
        if wanted is not None and (*release(version), 0, 0)[:2] != wanted:
            said = f"{name} {version} does not belong to torch {torch}, but {name} {wanted[0]}.{wanted[1]}"
            # torchaudio's code has been bound to torch's stable interface since 2.10
            found.append((said, name == "torchvision"))
        elif (kinds := (_kind(torch), _kind(version)))[0] != kinds[1] and None not in kinds:
            found.append((f"{name} {version} is built for something else than torch {torch}", True))
    return found


def _partner(name: str, torch: str) -> tuple[int, int] | None:
    major, minor = (*release(torch), 0, 0)[:2]
    if major != 2:
        return None
    return (0, minor + 15) if name == "torchvision" else (major, minor)


def _kind(version: str) -> str | None:
    """`cpu`, `cu13`, `rocm7`: what the code was compiled for, by major version; None where no tag tells."""
    tag = _TAG.search(version)
    if tag is None:
        return None
    return tag[1] + (tag[2][:-1] if tag[1] == "cu" else tag[2])


def _install_together(torch: str | None) -> str:
    version = torch.split("+")[0] if torch else packages()["torch"].tested
    vision, audio = _partner("torchvision", version), _partner("torchaudio", version)
    if vision is None or audio is None:
        return "install torch, torchvision and torchaudio in one command, from one index"
    names = f"torch=={version} torchvision=={vision[0]}.{vision[1]}.* torchaudio=={audio[0]}.{audio[1]}.*"
    return f"install the three together, from one index: pip install --force-reinstall {names}"
