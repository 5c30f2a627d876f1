"""The names, shapes and types of a checkpoint's tensors, from the headers of its safetensors files.

Format (huggingface/safetensors, README): eight bytes, little endian, give the length of a JSON text that
follows, {name: {dtype, shape, data_offsets}}; the weights behind it are never read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.errors import QtuneError
from qtune.files import from_json
from qtune.predict.models.shapes import Shape

LARGEST_HEADER = 100_000_000
"""Bytes; safetensors itself takes no larger one."""
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8),
    "F4": 4,
}
_FIX = "download the model's files again"


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of a file. dtype: in safetensors' words, such as BF16; data: its bytes in the file."""

    name: str
    shape: Shape
    dtype: str
    data: range


def read_directory(directory: Path) -> list[Stored] | None:
    """All tensors of a model's directory, None where it holds no safetensors weights."""
    single = directory / "model.safetensors"
    if single.is_file():
        return read_header(single)
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        return None
    tensors = (tensor for part in _parts(index) for tensor in read_header(directory / part))
    return list({tensor.name: tensor for tensor in tensors}.values())


def read_header(file: Path) -> list[Stored]:
    """The tensors of one file; raises QtuneError where it is no whole safetensors file."""
    try:
        with file.open("rb") as stream:
            start = stream.read(8)
            if len(start) < 8:
                raise _broken(file, "it is cut off before its header")
            length = struct.unpack("<Q", start)[0]
            if length > LARGEST_HEADER:
                raise _broken(file, f"its header would have {length:,} bytes")
            text = stream.read(length)
            size = stream.seek(0, 2)
    except OSError as error:
        raise QtuneError(f"cannot be read: {error.strerror}", where=str(file), fix=_FIX) from error
    if len(text) < length:
        raise _broken(file, "it is cut off within its header")
    try:
        content = from_json(text)
    except ValueError:
        raise _broken(file, "its header is no JSON") from None
    if not isinstance(content, dict):
        raise _broken(file, "its header is no mapping")
    return [
        _tensor(file, name, value, 8 + length, size)
        for name, value in content.items()
        if name != "__metadata__"
    ]


def _tensor(file: Path, name: str, value: Any, begin: int, size: int) -> Stored:
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(end)]} if all(
            type(length) is int and length >= 0 for length in shape
        ):
            if not 0 <= start <= end:
                raise _broken(file, f"`{name}` has impossible offsets")
            if begin + end > size:
                raise _broken(file, f"it is cut off before the end of `{name}`")
            if dtype in _BITS and math.prod(shape) * _BITS[dtype] != 8 * (end - start):
                raise _broken(file, f"`{name}` has not the bytes that its shape needs")
            return Stored(name, tuple(shape), dtype, range(begin + start, begin + end))
    raise _broken(file, f"its header says nothing sound of `{name}`")


def _parts(index: Path) -> list[str]:
    """The files that an index names; each lies beside it."""
    content = read_json(index)
    weights = content.get("weight_map")
    if not isinstance(weights, Mapping) or not weights:
        raise _broken(index, "it has no `weight_map`")
    parts = sorted({str(part) for part in weights.values()})
    for part in parts:
        if Path(part).name != part:
            raise _broken(index, f"it names {part!r}, which does not lie beside it")
        if not (index.parent / part).is_file():
            raise QtuneError(f"{part} is missing", where=str(index), fix=_FIX)
    return parts


def read_json(file: Path) -> Mapping[str, Any]:
    """The mapping in a JSON file of a model; raises QtuneError where there is none."""
    try:
        with file.open("rb") as stream:
            text = stream.read(LARGEST_HEADER + 1)
    except OSError as error:
        raise QtuneError(f"cannot be read: {error.strerror}", where=str(file), fix=_FIX) from error
    if len(text) > LARGEST_HEADER:
        raise _broken(file, f"it has more than {LARGEST_HEADER:,} bytes")
    try:
        content = from_json(text)
    except ValueError as error:
        raise _broken(file, f"it is no JSON ({error})") from None
    if not isinstance(content, dict):
        raise _broken(file, "it holds no mapping")
    return content


def _broken(file: Path, why: str) -> QtuneError:
    return QtuneError(f"the file is broken: {why}", where=str(file), fix=_FIX)
