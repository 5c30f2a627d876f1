"""Data sets of a hub, and the one file of each to look at: from the local cache, else downloaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtune.data.file_types import SUFFIXES
from qtune.errors import QtuneError
from qtune.machine.hub import Name as Hub
from qtune.machine.hub import huggingface_cache, offline_variable
from qtune.units import size_text

_KEYS: Mapping[Hub, str] = {"huggingface": "hf_hub_url", "modelscope": "ms_hub_url"}
_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_TIMEOUT = 10  # seconds
_MOST_BYTES = 512_000_000
_NO_DATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "README.txt")


@dataclass(frozen=True)
class HubData:
    """A data set of a hub; subset, split and folder as in dataset_info.json."""

    id: str
    hub: Hub
    subset: str | None = None
    split: str | None = None
    folder: str | None = None

    @property
    def entry(self) -> dict[str, Any]:
        """What a registration says of where the data lies."""
        given = {"subset": self.subset, "split": self.split, "folder": self.folder}
        return {_KEYS[self.hub]: self.id} | {key: value for key, value in given.items() if value is not None}


def is_hub_id(text: str) -> bool:
    """Whether `text` could be `owner/name`, and is no path of a data file that is not there."""
    owner = text.partition("/")[0]
    return bool(_ID.fullmatch(text)) and Path(text).suffix not in SUFFIXES and not Path(owner).is_dir()


def look_at(data: HubData) -> tuple[Path | None, str]:
    """(a file of the data set, or None and why there is none to look at).

    From the local cache, else downloaded into it, where the training finds it again. Raises QtuneError where
    the hub says that there is no such data set.
    """
    if data.hub == "modelscope":
        return None, "qtune looks only into Hugging Face's hub"
    if (found := _cached(data)) is not None:
        return found, ""
    if (variable := offline_variable()) is not None:
        return None, f"it is not in the local cache, and {variable} is set"
    try:
        import huggingface_hub
    except ImportError:
        return None, "it is not in the local cache, and huggingface_hub is not installed"
    return _download(data, huggingface_hub)


def _cached(data: HubData) -> Path | None:
    repository = huggingface_cache() / f"datasets--{data.id.replace('/', '--')}"
    # `datasets` downloads a commit, and then leaves no reference to it
    for snapshot in sorted(
        repository.glob("snapshots/*"), key=lambda path: path.stat().st_mtime, reverse=True
    ):
        files = (path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file())
        if chosen := _choose(files, data):
            return snapshot / chosen
    return None


def _download(data: HubData, huggingface_hub: Any) -> tuple[Path | None, str]:
    api = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        info = api.dataset_info(data.id, files_metadata=True, timeout=_TIMEOUT)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings}
        chosen = _choose(sizes, data)
        if chosen is None:
            return None, "it has no file that qtune reads"
        if sizes[chosen] > _MOST_BYTES:
            return None, f"its files have more than {size_text(_MOST_BYTES)}"
        path = api.hf_hub_download(
            data.id, chosen, repo_type="dataset", revision=info.sha, cache_dir=huggingface_cache()
        )
        return Path(path), ""
    except huggingface_hub.errors.GatedRepoError:
        return None, "you have to accept its terms on the hub first, and log in with `hf auth login`"
    except huggingface_hub.errors.RepositoryNotFoundError:
        raise QtuneError(
            "the hub has no such data set, or only for those who are logged in",
            where=data.id,
            fix="correct the id; with HF_HUB_OFFLINE=1 it is registered unseen",
        ) from None
    except (
        Exception
    ) as error:  # of several libraries, and none of them keeps the registration from being written
        return None, f"{api.endpoint} cannot be reached ({type(error).__name__})"


def _choose(names: Iterable[str], data: HubData) -> str | None:
    """The first data file of the subset and split, as far as names tell; all files of a kind look alike."""
    names = [name for name in sorted(names) if Path(name).suffix in SUFFIXES]
    names = [name for name in names if Path(name).name not in _NO_DATA and not name.startswith(".")]
    if data.folder:
        names = [name for name in names if name.startswith(f"{data.folder.rstrip('/')}/")]
    for word in (data.subset, data.split or "train"):
        if word:
            pattern = re.compile(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])")
            names = [name for name in names if pattern.search(name)] or names
    return names[0] if names else None
