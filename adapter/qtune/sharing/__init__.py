"""Pulling presets of git repositories into the cache, as data: nothing is checked out, nothing runs.

Of a repository come the presets of one directory and the templates in or beside it, regular files of bounded
number and size, read out of git's objects by name. What they are is then pinned in qtune.lock.
"""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from qtune import resources
from qtune.config import lock_file
from qtune.config.entries import GitSource
from qtune.config.lock_file import Pin
from qtune.config.names import is_name
from qtune.config.project import FILE, Project
from qtune.config.sources import TEMPLATES, agreed_pin, template_places
from qtune.errors import QtuneError
from qtune.files import MAX_BYTES, read_yaml, write_atomic
from qtune.processes import process
from qtune.render.templates import SCRIPTS, script_from_others
from qtune.sharing.git import LINK, Item, Repository
from qtune.sharing.workplace import workplace

MAX_FILES = 500
MAX_TOTAL = 10_000_000
MAX_DEPTH = 8


@dataclass(frozen=True)
class Pulled:
    """What a pull found for one source; before: what was pinned, None for a new source."""

    source: GitSource
    pin: Pin
    before: Pin | None

    @property
    def changed(self) -> list[str]:
        """The presets and templates that were added, changed or removed since."""
        old = self.before.files if self.before else {}
        return sorted(path for path in {*old, *self.pin.files} if old.get(path) != self.pin.files.get(path))


def pull(project: Project, *, locked: bool = False) -> list[Pulled]:
    """Fetch each git source of the project into the cache and pin it in qtune.lock.

    locked: fetch what is pinned instead of what the branches and tags now name; qtune.lock stays as it is.
    Raises QtuneError, with qtune.lock as it was, where git fails or a source is not fit to be used.
    """
    sources = [entry for entry in project.entries if isinstance(entry, GitSource)]
    if not sources:
        raise QtuneError(
            "there is no git source to pull",
            where=f"{FILE} presets",
            fix="list one, e.g. - git+https://example.org/team/presets.git@v1#presets",
        )
    try:
        before = lock_file.read_lock(project.root)
    except QtuneError:
        if locked:
            raise
        before = {}  # written anew is what mends it
    git = process.find_program("git", "install git; only pulling needs it")
    cache = resources.cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    pulled = []
    for source in sources:
        wanted = agreed_pin(source, before) if locked else None
        if wanted is not None and _is_there(cache, wanted):
            pulled.append(Pulled(source, wanted, wanted))
            continue
        with workplace(cache) as temporary:
            repository = Repository(git, temporary / "git", source)
            pin = _take(repository, source, wanted, temporary, project.root)
            if wanted is not None and pin != wanted:
                raise QtuneError(
                    f"commit {pin.short} of `{source.name}` holds other files than {lock_file.FILE} pins",
                    where=source.place,
                    fix="find out who changed qtune.lock; `qtune presets pull` pins what is there now",
                )
            _keep(temporary / "files", cache, pin)
        pulled.append(Pulled(source, pin, before.get(source.name)))
    if not locked:
        text = lock_file.lock_text({item.source.name: item.pin for item in pulled})
        write_atomic(project.root / lock_file.FILE, text)
    return pulled


def _take(repository: Repository, source: GitSource, pinned: Pin | None, temporary: Path, root: Path) -> Pin:
    """The presets and templates of what `source` names, or of the pinned commit, as files in `temporary`."""
    commit = repository.fetch(pinned.commit if pinned else source.ref, root)
    label = f"{source.name}@{commit[:10]}"
    chosen = dict(_chosen(repository, source, commit, label))
    total = sum(item.size or 0 for item in chosen.values())
    if total > MAX_TOTAL:
        raise _refuse(label, f"holds more than {MAX_TOTAL:,} bytes of presets and templates")
    files = temporary / "files"
    contents = repository.contents([item.object for item in chosen.values()])
    for path, content in zip(chosen, contents, strict=True):
        place = files / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        if path.endswith(".yaml"):
            read_yaml(place, f"{label}/{path}")
    return Pin(source.url, source.ref, source.subdir, commit, lock_file.content(files))


def _chosen(repository: Repository, source: GitSource, commit: str, label: str) -> Iterator[tuple[str, Item]]:
    """The presets and templates with their paths; raises QtuneError for what may not be among them."""
    above, here, walked = {}, repository.tree(commit), ""
    for part in PurePosixPath(source.subdir).parts:
        walked = posixpath.join(walked, part)
        item = here.get(part)
        if item is None or item.kind != "tree":
            what = "is a symbolic link" if item and item.mode == LINK else "is no directory there"
            raise _refuse(f"{label}/{walked}", what, f"mend {FILE}: what follows the # names a directory")
        above, here = here, repository.tree(item.object)
    presets = {
        posixpath.join(walked, name): item
        for name, item in here.items()
        if name.endswith(".yaml") and is_name(name.removesuffix(".yaml"))
    }
    if not presets:
        raise _refuse(
            f"{label}/{walked}".rstrip("/"),
            "holds no presets (NAME.yaml)",
            f"name the directory that does, e.g. …@{source.ref}#presets",
        )
    templates = _templates(repository, walked, here, above, label)
    for number, (path, item) in enumerate((*presets.items(), *templates)):
        if item.mode == LINK:
            raise _refuse(f"{label}/{path}", "is a symbolic link")
        if item.size is None:
            raise _refuse(f"{label}/{path}", "is no file")
        if item.size > MAX_BYTES:
            raise _refuse(f"{label}/{path}", f"is larger than {MAX_BYTES:,} bytes")
        if number == MAX_FILES:
            raise _refuse(label, f"holds more than {MAX_FILES} presets and templates")
        yield path, item


def _templates(
    repository: Repository, walked: str, here: dict[str, Item], above: dict[str, Item], label: str
) -> Iterator[tuple[str, Item]]:
    """The templates in the presets' directory, else beside it, where `Source.templates` will look."""
    inside, beside = (place.as_posix() for place in template_places(Path(walked)))
    top, item = (inside, here.get(TEMPLATES)) if TEMPLATES in here else (beside, above.get(TEMPLATES))
    if item is None:
        return
    waiting = [(top, item)]
    seen = 0
    while waiting:
        path, item = waiting.pop()
        seen += 1
        if seen > MAX_FILES or path.count("/") > top.count("/") + MAX_DEPTH:
            raise _refuse(f"{label}/{top}", f"holds more than {MAX_FILES} files or {MAX_DEPTH} levels")
        if item.kind == "tree":
            waiting += [(f"{path}/{name}", below) for name, below in repository.tree(item.object).items()]
        elif item.mode == LINK:
            yield path, item
        elif path.endswith(".j2"):
            if not lock_file.stays_inside(path):
                raise _refuse(f"{label}/{top}", "holds a file whose name leads elsewhere")
            if path.startswith(f"{top}/{SCRIPTS}"):
                raise script_from_others(f"{label}/{path}")
            yield path, item


def _refuse(where: str, what: str, fix: str = "ask its owner to take that out") -> QtuneError:
    return QtuneError(what, where=where, fix=fix)


def _is_there(cache: Path, pin: Pin) -> bool:
    return (cache / pin.directory).is_dir() and lock_file.content(cache / pin.directory) == pin.files


def _keep(files: Path, cache: Path, pin: Pin) -> None:
    """Move what was taken to its place in the cache, over whatever is there and is something else."""
    if _is_there(cache, pin):
        return
    target = cache / pin.directory
    if target.exists():
        shutil.rmtree(target)
    files.rename(target)
