"""The entries of a project's `presets:`: a directory, or a git repository at a branch, tag or commit.

A git source is `git+URL@REF` or `git+URL@REF#SUBDIR`; `NAME: entry` gives an entry another name than its own
last part. Addresses come from files that are shared, so none may hold a password.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune import resources
from qtune.config.lock_file import stays_inside
from qtune.config.names import valid_name
from qtune.errors import QtuneError
from qtune.files import Document
from qtune.secrets.text import holds

BUILT_IN = "qtune"
PRESETS = "presets"
_GIT = "git+"
_TOP = "."
_SCHEMES = ("https", "ssh", "file")
_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_REF = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_+/-]|\.(?!\.))*")
_EXAMPLE = "write e.g. git+https://example.org/team/presets.git@v1#presets"


@dataclass(frozen=True)
class DirectorySource:
    """A directory, read in place. written: as qtune.yaml names it; directory: where that is."""

    name: str
    written: str
    directory: Path


@dataclass(frozen=True)
class GitSource:
    """A directory of a git repository. url: without credentials; subdir: `.` is the repository's top.

    place: the line of qtune.yaml.
    """

    name: str
    url: str
    ref: str
    subdir: str
    place: str


Entry = DirectorySource | GitSource


def read_entries(document: Document, root: Path) -> tuple[Entry, ...]:
    """The entries of `presets:` in the qtune.yaml of `root`, in order; without that key its own `presets/`.

    Raises QtuneError for what is no source, for directories that are not there, and for names that are
    taken. No message shows an address before it is known to hold no password.
    """
    given = document.data.get(PRESETS)
    if given is None:
        own = root / PRESETS
        # in a checkout of qtune the built-in ones lie there
        listed = own.is_dir() and own.resolve() != resources.root() / PRESETS
        given = [PRESETS] if listed else []
    if not isinstance(given, list):
        raise QtuneError(
            f"`{PRESETS}` takes a list of directories and git sources",
            where=document.where(PRESETS),
            fix=f"{PRESETS}: [{PRESETS}]",
        )
    entries: dict[str, Entry] = {}
    for index, item in enumerate(given):
        entry = _entry(item, document.where(PRESETS, str(index)), root)
        if entry.name in entries or entry.name == BUILT_IN:
            taken = "the built-in presets'" if entry.name == BUILT_IN else "another source's too"
            raise QtuneError(
                f"the source's name `{entry.name}` is {taken}",
                where=document.where(PRESETS, str(index)),
                fix="give it one of its own: `- NAME: …` in place of `- …`",
            )
        entries[entry.name] = entry
    return tuple(entries.values())


def _entry(item: Any, where: str, root: Path) -> Entry:
    name = None
    if isinstance(item, dict) and len(item) == 1:
        ((name, item),) = item.items()
    if not isinstance(item, str) or not item:
        raise QtuneError(
            "a source of presets is a directory or a git source, with `NAME:` before it or without",
            where=where,
            fix=f"write the directory, or {_EXAMPLE.removeprefix('write e.g. ')}",
        )
    if item.startswith(_GIT):
        url, ref, subdir = _git_parts(item.removeprefix(_GIT), where)
        own_name = url.rstrip("/").rpartition("/")[2].removesuffix(".git")
        return GitSource(_name(name, own_name, where), url, ref, subdir, where)
    if "://" in item:
        raise QtuneError("an address of presets is one for git", where=where, fix=_EXAMPLE)
    directory = root / Path(item).expanduser()
    if not directory.is_dir():
        raise QtuneError(
            f"there is no directory `{item}` of presets",
            where=where,
            fix=f"create it, or take it out of `{PRESETS}:`",
        )
    return DirectorySource(
        _name(name, Path(item).name.strip(".") or directory.resolve().name, where), item, directory
    )


def _name(given: str | None, own: str, where: str) -> str:
    try:
        return valid_name(own if given is None else given, "source's")
    except QtuneError as error:
        fix = error.fix if given is not None else "give it a name: `- NAME: …` in place of `- …`"
        raise QtuneError(error.what, where=where, fix=fix) from None


def _git_parts(text: str, where: str) -> tuple[str, str, str]:
    """`URL@REF[#SUBDIR]` in its three parts; the messages never repeat the address."""

    def refuse(what: str, fix: str = _EXAMPLE) -> QtuneError:
        return QtuneError(what, where=where, fix=fix)

    address, hash_mark, subdir = text.partition("#")
    scheme, separator, rest = address.partition("://")
    if not text.isprintable():
        raise refuse("the git source holds a character that no address has")
    if separator:
        if scheme not in _SCHEMES:
            raise refuse(f"qtune fetches presets over {', '.join(_SCHEMES)} alone")
        authority, _, path = rest.partition("/")
        user, _, host = authority.rpartition("@")
        if "?" in rest or holds(text) or (user and (scheme != "ssh" or not _USER.fullmatch(user))):
            raise refuse(
                "the address of the git source may hold a password or token, which a shared file must not",
                "take it out, and let git's credential helper or an SSH key answer for you",
            )
        if (not _HOST.fullmatch(host)) if scheme != "file" else authority:
            raise refuse("the address of the git source names no host")
    else:
        path = address
        if ":" in address.partition("/")[0] or "::" in address:
            raise refuse(
                "the address of the git source is none that qtune fetches",
                "write user@host:path as git+ssh://user@host/path@REF",
            )
    before, at, ref = path.rpartition("@")
    if not at or not before:
        raise refuse("the git source names no branch, tag or commit", f"add @REF: {_EXAMPLE}")
    if not _REF.fullmatch(ref) or ref.endswith(("/", ".", ".lock")):
        raise refuse("what follows the @ of the git source is no branch, tag or commit")
    if hash_mark and not stays_inside(subdir):
        raise refuse("what follows the # of the git source is no directory in it", _EXAMPLE)
    return address[: -len(ref) - 1], ref, posixpath.normpath(subdir) if hash_mark else _TOP
