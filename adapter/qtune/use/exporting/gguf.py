"""llama.cpp's converter to GGUF: where it lies, and what it is asked.

It is a script of a checkout (ggml-org/llama.cpp, convert_hf_to_gguf.py, with conversion/ and gguf-py/
beside it), that script installed, or the command of the checkout's pyproject.toml. Its makers put it into
no package: their `gguf` on PyPI writes such files and converts none.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from qtune.errors import QtuneError
from qtune.processes import process

FILE = "model.gguf"
CHECKOUT = "LLAMA_CPP"
"""The variable that names a checkout."""
_SCRIPT = "convert_hf_to_gguf.py"
COMMANDS = (_SCRIPT, "llama-convert-hf-to-gguf")
_FIX = f"`git clone https://github.com/ggml-org/llama.cpp`, and name that directory: `export {CHECKOUT}=DIR`"


def find_converter() -> tuple[str, ...]:
    """The words that start it: from the checkout in LLAMA_CPP with LLaMA-Factory's Python, else from PATH.

    Raises QtuneError where it is not installed.
    """
    if checkout := os.environ.get(CHECKOUT):
        script = Path(checkout).expanduser().absolute() / _SCRIPT
        if not script.is_file():
            raise QtuneError(f"holds no {_SCRIPT}", where=f"{CHECKOUT}={checkout}", fix=_FIX)
        return str(process.find_python()), str(script)
    for name in COMMANDS:
        if found := shutil.which(name):
            return (str(Path(found).absolute()),)
    raise QtuneError("llama.cpp's converter is not installed here", where="--gguf", fix=_FIX)


def conversion(converter: tuple[str, ...], model: Path, title: str) -> tuple[str, ...]:
    """The words that convert `model`, in 16 bits, to its own `FILE`; title: the model's name there."""
    return (*converter, str(model), "--outfile", str(model / FILE), "--model-name", title)
