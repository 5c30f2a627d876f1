"""Which model or data set a name means, and which hub has it."""

from __future__ import annotations

from pathlib import Path

from qtune.config.hub_settings import hub_variables
from qtune.config.project import Project
from qtune.config.resolve import merge
from qtune.data.adding.hub_data import is_hub_id
from qtune.data.registrations import read_registrations
from qtune.download.request import Request
from qtune.errors import QtuneError
from qtune.machine import hub as hubs


def request_for(
    project: Project,
    model: str | None,
    dataset: str | None,
    hub: hubs.Name | None,
    mirror: str | None,
    revision: str | None,
) -> Request:
    """What the command line's words mean in this project; hub and mirror hold from here on, for every child.

    model, dataset: their names, at most one of them; without either it is the project's model.
    Raises QtuneError where nothing is named, or what is named cannot be fetched.
    """
    train = merge("", project.layers).block("train")
    if dataset is None:
        name = model or train.get("model_name_or_path")
        if not name:
            fix = "qtune download Qwen/Qwen2.5-0.5B-Instruct"
            raise QtuneError("no model is named, and no project's is here", fix=fix)
        if (project.root / Path(name).expanduser()).is_dir():
            fix = "name a model of a hub"
            raise QtuneError("is a directory of this machine already", where=name, fix=fix)
        if revision is None and name == train.get("model_name_or_path"):
            revision = train.get("model_revision")
        subset = folder = None
    else:
        name, hub, subset, folder = _data_set(project, dataset, hub)
    hub = hub or hubs.default_hub()
    if dataset is not None and hub == "modelscope":
        fix = "the training fetches it by itself; or take the same from Hugging Face: --hub huggingface"
        raise QtuneError("data sets of ModelScope cannot be fetched ahead", where=dataset, fix=fix)
    hubs.set_variables(hub_variables(hub, mirror), override=True)
    found = hubs.read_hub(train.get("cache_dir") if dataset is None else None)
    if found.offline is not None:
        fix = f"unset {found.offline}, or take `offline` out of `hub:` in qtune.yaml"
        raise QtuneError(f"{found.offline} forbids to ask the hub", where=name, fix=fix)
    return Request(
        name,
        "model" if dataset is None else "dataset",
        hub,
        found.endpoint,
        found.cache,
        revision or "main",
        train.get("cache_dir"),
        subset,
        folder,
    )


def _data_set(
    project: Project, name: str, hub: hubs.Name | None
) -> tuple[str, hubs.Name | None, str | None, str | None]:
    """(id, hub, subset, folder) of a registered data set, or of the one with this id."""
    registered = read_registrations(project).get(name)
    if registered is None:
        if not is_hub_id(name):
            fix = "`qtune data list` names those registered; a hub's id is owner/name"
            raise QtuneError("is neither registered nor the id of a data set", where=name, fix=fix)
        return name, hub, None, None
    entry = registered.entry
    keys: dict[hubs.Name, str] = {"huggingface": "hf_hub_url", "modelscope": "ms_hub_url"}
    for chosen in (hub or hubs.default_hub(), *keys):
        if found := entry.get(keys[chosen]):
            return found, chosen, entry.get("subset"), entry.get("folder")
    raise QtuneError("is a file of this machine", where=name, fix="there is nothing to fetch")
