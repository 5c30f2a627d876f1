"""The hub that models come from: which one, whether it may be asked, and what its cache on disk holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qtune.files import from_json

Name = Literal["huggingface", "modelscope"]
_ENDPOINTS: Mapping[Name, str] = {
    "huggingface": "https://huggingface.co",
    "modelscope": "https://www.modelscope.cn",
}
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
# A model's weights: one file, or an index that names its parts (transformers/modeling_utils.py).
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")


@dataclass(frozen=True)
class Hub:
    """What the environment says of the hub that a training loads its model from.

    offline: the variable that forbids asking it, None where it may be asked; cache: where it keeps models.
    """

    name: Name
    endpoint: str
    offline: str | None
    cache: Path

    @property
    def is_mirror(self) -> bool:
        return self.endpoint != _ENDPOINTS[self.name]


@dataclass(frozen=True)
class Cached:
    """What the cache holds of a model. path: its files, None where there is nothing; missing: what lacks."""

    path: Path | None = None
    missing: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return self.path is not None and not self.missing


def default_hub() -> Name:
    """The one that trainings use here (llamafactory/extras/misc.py, is_env_enabled)."""
    wanted = os.environ.get("USE_MODELSCOPE_HUB", "0").lower() in ("true", "y", "1")
    return "modelscope" if wanted else "huggingface"


def offline_variable() -> str | None:
    """The variable that keeps Hugging Face's libraries off the network (huggingface_hub/constants.py)."""
    said = next((name for name in _OFFLINE if os.environ.get(name)), None)
    return said if said and os.environ[said].upper() in ("1", "ON", "YES", "TRUE") else None


def huggingface_cache() -> Path:
    """Where Hugging Face's library keeps models (huggingface_hub/constants.py, HF_HUB_CACHE)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    home = Path(os.environ.get("HF_HOME") or cache / "huggingface").expanduser()
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(given).expanduser() if given else home / "hub"


def modelscope_cache() -> Path:
    """Where ModelScope's library keeps models (modelscope_hub/config.py, HubConfig)."""
    return Path(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope").expanduser()


def set_variables(variables: Mapping[str, str], *, override: bool) -> None:
    """Set them for this process and all that it starts; without `override` only those not set yet."""
    for name, value in variables.items():
        if override or not os.environ.get(name):
            os.environ[name] = value


def read_hub(cache_dir: str | None = None) -> Hub:
    """The hub as the environment sets it; cache_dir: LLaMA-Factory's argument, which goes before variables.

    ModelScope's library knows no offline variable.
    """
    if default_hub() == "modelscope":
        given = os.environ.get("MODELSCOPE_ENDPOINT") or os.environ.get("MODELSCOPE_DOMAIN")
        default_cache = modelscope_cache()
        offline = None
    else:
        given, default_cache, offline = os.environ.get("HF_ENDPOINT"), huggingface_cache(), offline_variable()
    endpoint = (given or _ENDPOINTS[default_hub()]).rstrip("/")
    endpoint = endpoint if "://" in endpoint else f"https://{endpoint}"
    return Hub(default_hub(), endpoint, offline, Path(cache_dir).expanduser() if cache_dir else default_cache)


def look_up(hub: Hub, model: str, revision: str = "main") -> Cached:
    """What of a model lies in the hub's cache, and what of it does not."""
    found = [(path, tuple(_missing(path))) for path in _snapshots(hub, model, revision) if path.is_dir()]
    if not found:
        return Cached()
    path, missing = min(found, key=lambda item: len(item[1]))
    return Cached(path, missing)


def cached_file(name: str, model: str, revision: str = "main", cache_dir: str | None = None) -> Path | None:
    """A file of a model in the cache of the hub that trainings use here, else in the other one's."""
    hub = read_hub(cache_dir)
    other = Hub("modelscope", "", None, modelscope_cache())
    if hub.name == "modelscope":
        other = Hub("huggingface", "", None, huggingface_cache())
    places = (look_up(place, model, revision).path for place in (hub, other))
    return next((path / name for path in places if path is not None and (path / name).is_file()), None)


def why_unreachable(endpoint: str, seconds: float) -> str | None:
    """Why nothing answers at the hub's address within `seconds`, None where something does.

    In a thread, because nothing bounds the time that resolving a name takes.
    """
    answers: list[str | None] = []
    asking = threading.Thread(target=lambda: answers.append(_ask(endpoint, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    return answers[0] if answers else f"no answer within {seconds:g} seconds"


def _ask(endpoint: str, seconds: float) -> str | None:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(endpoint, method="HEAD"), timeout=seconds):
            return None
    except HTTPError as error:  # somebody is there, but a proxy or gateway may say that the hub is not
        return f"HTTP status {error.code}" if error.code in (407, 502, 503, 504) else None
    except URLError as error:
        return str(error.reason)
    except (OSError, ValueError, HTTPException) as error:
        return str(error) or type(error).__name__


def _snapshots(hub: Hub, model: str, revision: str) -> Iterator[Path]:
    """Where the hub's library would look for the model's files, best first."""
    if hub.name == "huggingface":
        repository = hub.cache / f"models--{model.replace('/', '--')}"
        reference = repository / "refs" / revision
        commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
        yield repository / "snapshots" / commit
        return
    if not hub.cache.is_dir():
        return
    # modelscope_hub/_download.py, _repo_cache_dir_path, _find_legacy_repo_dir; modelscope/hub/utils/utils.py
    owner, _, name = model.partition("/")
    branch = "master" if revision == "main" else revision  # extras/misc.py, try_download_model_from_other_hub
    yield hub.cache / "models" / model.replace("/", "--") / "snapshots" / branch
    for base in (hub.cache / "models", hub.cache / "hub" / "models", hub.cache, hub.cache / "hub"):
        yield base / owner / name.replace(".", "___")
        yield base / owner / name


def _missing(snapshot: Path) -> Iterator[str]:
    """What a model's directory lacks; a link to a file that was never finished is no file."""
    if not (snapshot / "config.json").is_file():
        yield "config.json"
    if not any((snapshot / name).is_file() for name in _TOKENIZERS):
        yield "its tokenizer"
    if any((snapshot / name).is_file() for name in _WEIGHTS):
        return
    for name in _WEIGHTS:
        index = snapshot / f"{name}.index.json"
        if index.is_file():
            yield from sorted(part for part in _parts(index) if not (snapshot / part).is_file())
            return
    yield "its weights"


def _parts(index: Path) -> set[str]:
    try:
        return set(from_json(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {f"{index.name} (broken)"}
