"""YAML text to plain values with line numbers; files written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import yaml

from qtune.errors import QtuneError
from qtune.values import KeyPath

MAX_BYTES = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 32

# LLaMA-Factory reads YAML with OmegaConf, to which 1e-4 is a number; to PyYAML it is text. Reading and
# writing both follow OmegaConf (omegaconf/_yaml.py, get_yaml_loader), so that a value means one thing.
_FLOAT = re.compile(
    r"""^(?:
      [-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
     |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
     |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
     |[-+]?\.(?:inf|Inf|INF)
     |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)


_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe loading with OmegaConf's idea of a float."""


class _Dumper(yaml.SafeDumper):
    """Dumping that quotes whatever `_Loader` would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML writes these line breaks bare inside single quotes, where they read back as a space
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


@dataclass(frozen=True)
class Document:
    """A parsed YAML file.

    data: plain values; lines: the line (from 1) of each key and list item, by path, () for the document.
    """

    data: Any
    lines: dict[KeyPath, int]
    path: Path
    display: str
    sha256: str

    def where(self, *path: str) -> str:
        """`file:line` of the key at `path`, of its nearest parent where it has no line itself."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return f"{self.display}:{self.lines[path[:end]]}"
        return self.display


def read_yaml(path: Path, display: str | None = None) -> Document:
    """Parse one YAML file; an empty file is an empty mapping.

    Raises QtuneError with file and line for text that is not UTF-8, broken YAML, unknown tags, duplicate
    keys, and files too large, too deep or too repetitive (alias bombs) to be a config.
    """
    display = display or str(path)
    with path.open("rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise QtuneError(
            f"is larger than {MAX_BYTES:,} bytes", where=display, fix="name a preset or project file"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise QtuneError(
            f"is not UTF-8 text (byte 0x{raw[error.start]:02x})",
            where=f"{display}:{line}",
            fix="save the file as UTF-8",
        ) from None
    data, lines = parse_yaml(text, display)
    return Document({} if data is None else data, lines, path, display, hashlib.sha256(raw).hexdigest())


def parse_yaml(text: str, display: str) -> tuple[Any, dict[KeyPath, int]]:
    """YAML text to (plain value, line of each path); see `read_yaml` for what it refuses."""
    try:
        _check_depth(text, display)
        # the stream check comes with the reader, so it belongs inside the try
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[KeyPath, int] = {}
        if node is None:
            return None, lines
        data = _Builder(loader, lines, display).build(node, (), 0)
        return data, lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # what is missing at the end is reported one line after it
        where = f"{display}:{min(mark.line + 1, len(text.splitlines()))}" if mark else display
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise QtuneError(
            f"broken YAML: {problem}", where=where, fix="mend that line (check indentation and quotes)"
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise QtuneError(
            f"broken YAML: {error.reason}", where=f"{display}:{line}", fix="remove that character"
        ) from None


def _check_depth(text: str, display: str) -> None:
    """Raises QtuneError where YAML is nested too deep: composing it, in C, would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH + 1:
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise _too_deep(f"{display}:{line}")


def _too_deep(where: str) -> QtuneError:
    return QtuneError(f"is nested deeper than {MAX_DEPTH} levels", where=where, fix="flatten it")


class _Builder:
    """Walks a node graph into plain values, counting as it goes."""

    def __init__(self, loader: Any, lines: dict[KeyPath, int], display: str) -> None:
        self._loader = loader
        self._lines = lines
        self._display = display
        self._nodes = 0

    def build(self, node: yaml.Node, path: KeyPath, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._error(node, f"expands to more than {MAX_NODES:,} values", "remove the aliases")
        if depth > MAX_DEPTH:
            raise _too_deep(f"{self._display}:{node.start_mark.line + 1}")
        self._lines.setdefault(path, node.start_mark.line + 1)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            raise self._error(node, f"the tag {node.tag} is not supported", "write a plain list or mapping")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, str(index)), depth + 1) for index, item in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except ValueError as error:  # 2026-13-45 looks like a date to YAML and is none
            raise self._error(node, f"broken YAML: {error}", "put the value in quotes") from None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise self._error(key_node, "`<<` is not supported here", "use `extends` to inherit")
            key = self._loader.construct_object(key_node) if key_node.id == "scalar" else None
            if not isinstance(key, str):
                shown = key_node.value if key_node.id == "scalar" else "a list or mapping"
                raise self._error(key_node, f"key {shown!r} is not text", "put the key in quotes")
            if key in result:
                first = self._lines[(*path, key)]
                raise self._error(
                    key_node, f"`{key}` is set twice, first on line {first}", "keep one of them"
                )
            self._lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.build(value_node, (*path, key), depth + 1)
        return result

    def _error(self, node: yaml.Node, what: str, fix: str) -> QtuneError:
        return QtuneError(what, where=f"{self._display}:{node.start_mark.line + 1}", fix=fix)


@cache
def table_beside(module: str, name: str) -> Any:
    """The content of qtune's own YAML file `name`, beside the module of that path; not to be changed."""
    return yaml.load(Path(module).with_name(name).read_text(encoding="utf-8"), _Loader)


def leaves(data: dict[str, Any], prefix: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Each (path, plain value) of a nested mapping; lists and empty mappings are leaves."""
    for key, value in data.items():
        path = (*prefix, key)
        if isinstance(value, dict) and value:
            yield from leaves(value, path)
        else:
            yield path, value


def dump_yaml(value: Any) -> str:
    """One value as YAML on one line, read back alike by PyYAML, OmegaConf and `read_yaml`."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=math.inf, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")


def block_lines(tree: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """A mapping as lines of YAML, `depth` levels in; blocks below the third level stay on one line."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value and depth < 2:
            yield f"{'  ' * depth}{dump_yaml(key)}:"
            yield from block_lines(value, depth + 1)
        else:
            yield f"{'  ' * depth}{dump_yaml(key)}: {dump_yaml(value)}"


def read_text(path: Path) -> str:
    """The text of a regular file.

    Raises OSError, for anything else too: reading a pipe could wait for ever; and UnicodeDecodeError.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_text(encoding="utf-8")


def from_json(text: str | bytes) -> Any:
    """The value of JSON text; raises ValueError where it is none, or nested too deep for Python to read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deep") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON mapping in a file; an empty one where there is none that can be read."""
    try:
        content = from_json(read_text(path))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_atomic(path: Path, text: str, *, executable: bool = False) -> None:
    """Write `text` to `path` whole or not at all, as UTF-8 with the permissions a new file would have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        error.filename = str(path)  # nobody knows the other name
        raise
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files that only their owner may read; shared projects need the umask's answer
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod((0o777 if executable else 0o666) & ~mask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def link_atomic(path: Path, target: Path) -> None:
    """Let `path` be a link to `target`, whatever it was one to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as directory:
        new = Path(directory) / path.name
        new.symlink_to(os.path.relpath(target, path.parent))
        new.replace(path)


@contextmanager
def alone(directory: Path, *, wait: bool = True) -> Iterator[bool]:
    """Keep others out of `directory` who use this too; whether it is this process's alone until the end.

    It is not where it is gone, or its file system locks no directories, as NFS; without `wait` nor where
    another has it.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        held = True
    except OSError:
        held = False
    try:
        yield held
    finally:
        os.close(descriptor)


@contextmanager
def write_together(*paths: Path) -> Iterator[Sequence[IO[bytes]]]:
    """A stream for each path; the files stand there once the block ends, and none of them where it raises.

    Raises OSError, with the first path where it has none: a full disk is met by any write.
    """
    try:
        with ExitStack() as stack:
            streams, temporaries = [], []
            mask = os.umask(0)
            os.umask(mask)
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
                temporaries.append(Path(name))
                stack.callback(temporaries[-1].unlink, missing_ok=True)
                streams.append(stack.enter_context(os.fdopen(handle, "wb")))
                os.fchmod(handle, 0o666 & ~mask)
            yield streams
            for stream in streams:
                stream.flush()
                os.fsync(stream.fileno())
            with ExitStack() as placed:
                for temporary, path in zip(temporaries, paths, strict=True):
                    new = not path.exists()
                    temporary.replace(path)
                    if new:
                        placed.callback(path.unlink)
                placed.pop_all()
    except OSError as error:
        error.filename = error.filename or str(paths[0])
        raise
