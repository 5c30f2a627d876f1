"""The DeepSpeed config that an original names, or holds, under `deepspeed`."""

from __future__ import annotations

from qtune.importing.deepspeed import zero
from qtune.importing.deepspeed.file import DeepSpeedFile
from qtune.importing.original import Original
from qtune.importing.parts import Translation, noted, refused, warned
from qtune.importing.stock import stock_file
from qtune.values import Value


def named(value: Value | None, train: Translation, read: Original) -> Translation:
    """The blocks of the file, or the mapping, that the original names under `deepspeed`."""
    if value is None or not value.value:
        return Translation()
    source = read.source
    if isinstance(value.value, dict):
        lines = {path[1:]: line for path, line in source.lines.items() if path[:1] == ("deepspeed",)}
        return zero.translate(DeepSpeedFile(value.value, lines, source.display), train, whole=read.whole)
    name = str(value.value)
    file = source.named(name)
    if file is None:
        return _stock(name, value, train, read)
    if file.keys is None:
        return refused("deepspeed", f"{name} is no DeepSpeed JSON", "correct that file", value.origin)
    part = zero.translate(DeepSpeedFile(file.keys, file.lines, file.display), train, whole=read.whole)
    blocks = dict.fromkeys(("`zero`", *(f"`{path[0]}`" for path in part.values if path[0] != "train")))
    return noted("deepspeed", f"{name} becomes {' and '.join(blocks)}", value.origin) + part


def _stock(name: str, value: Value, train: Translation, read: Original) -> Translation:
    """A path that leads nowhere as the file of that name that LLaMA-Factory keeps in its repository."""
    stock = stock_file("deepspeed", name)
    if stock is None:
        fix = "put DeepSpeed's JSON there, or import it from a directory where that path holds"
        return refused("deepspeed", f"there is no {name}", fix, value.origin)
    part = zero.translate(DeepSpeedFile(stock.content, {}, stock.display), train, whole=read.whole)
    if stock.by_path:
        return noted("deepspeed", f"{name} is not here: {stock.display} is taken", value.origin) + part
    fix = "if yours says something else, put it there and import again"
    return warned("deepspeed", f"there is no {name}: {stock.display} is taken", fix, value.origin) + part
