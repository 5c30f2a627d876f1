"""The packages and build tools of this machine; each is looked for only when a rule asks for it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_INCLUDE_VARIABLES = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH")
_INCLUDES = ("/usr/include", "/usr/local/include")


@dataclass(frozen=True)
class Stack:
    """The Python packages and build tools of one machine, as functions that look when they are called.

    has_module: whether a top-level module can be imported; version: of a distribution, None where it is not
    installed; has_compiler: whether there is a C++ compiler; has_header: whether a C header is where
    compilers look.
    """

    has_module: Callable[[str], bool]
    version: Callable[[str], str | None]
    has_compiler: Callable[[], bool]
    has_header: Callable[[str], bool]


def installed_stack() -> Stack | None:
    """This machine's, None where LLaMA-Factory is not installed: nothing will train here then."""
    if not _has_module("llamafactory"):
        return None
    return Stack(cache(_has_module), cache(version), lambda: compiler() is not None, has_header)


def library() -> Path | None:
    """LLaMA-Factory's package, None where it is not installed."""
    spec = find_spec("llamafactory")
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _has_module(name: str) -> bool:
    return find_spec(name) is not None


def version(distribution: str) -> str | None:
    """The installed one, None where it is not installed."""
    # slower than all other imports of a check together
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def compiler() -> str | None:
    """The C++ compiler's path, as torch looks for one (torch/utils/cpp_extension.py, get_cxx_compiler)."""
    return shutil.which(os.environ.get("CXX", "c++"))


def has_header(name: str) -> bool:
    """Whether a C header is where compilers look."""
    named = [os.environ.get(variable, "").split(os.pathsep) for variable in _INCLUDE_VARIABLES]
    directories = [*_INCLUDES, f"{sys.prefix}/include", *(path for paths in named for path in paths if path)]
    return any((Path(directory) / name).is_file() for directory in directories)
