"""Which builds of torch's packages are installed, read from their files: importing them takes seconds."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_VERSION = re.compile(r"""^__version__\b[^=\n]*=\s*['"]([^'"]+)['"]""", re.MULTILINE)
_CUDA = re.compile(r"""^cuda\b[^=\n]*=\s*['"]([^'"]+)['"]""", re.MULTILINE)
_XPU = re.compile(r"""^xpu\b[^=\n]*=\s*['"]([^'"]+)['"]""", re.MULTILINE)


@dataclass(frozen=True)
class Build:
    """An installed package. version: with the build's tag, as in 2.11.0+cu130, None where it does not say;
    cuda: the version of CUDA that it was built for, None for a build without it; xpu: of Intel's oneAPI."""

    version: str | None = None
    cuda: str | None = None
    xpu: str | None = None


def read_build(package: str) -> Build | None:
    """The build of `torch`, `torchvision` or `torchaudio` that Python would import; None for none."""
    spec = find_spec(package)
    if spec is None:
        return None
    for directory in spec.submodule_search_locations or ():
        with suppress(OSError):
            text = (Path(directory) / "version.py").read_text(encoding="utf-8")
            found = (pattern.search(text) for pattern in (_VERSION, _CUDA, _XPU))
            return Build(*(match[1] if match else None for match in found))
    return Build()
