"""What the model card says of a run: its record, without what belongs to the machine or is a secret."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import yaml

from qtune.config.model import local_model, model_file
from qtune.config.project import Project
from qtune.data.reading.row_counts import count_training_rows
from qtune.data.registrations import Registration, names_in
from qtune.errors import QtuneError
from qtune.predict.steps import predict_steps
from qtune.render.templates import Templates
from qtune.schema import arguments
from qtune.secrets.text import without
from qtune.use.exporting import gguf
from qtune.use.exporting.comparison import Comparison
from qtune.use.exporting.plan import ExportPlan
from qtune.use.exporting.readers import Readers
from qtune.use.exporting.samples import registrations_if_any
from qtune.use.infer import GROUPS
from qtune.use.models import Trained

FILE = "README.md"
_TEMPLATE = "model_card.md.j2"
_CARD_BYTES = 1 << 20
_LICENSE = ("license", "license_name", "license_link")
_SHOWN_METRICS = ("train_loss", "eval_loss", "epoch")


def card(plan: ExportPlan, comparison: Comparison | None, readers: Readers, project: Project) -> str:
    """The README.md of an exported model; raises QtuneError where its template fails."""
    trained = plan.trained
    local = local_model(trained.base, project.root) is not None
    front: dict[str, Any] = {}
    if not local:
        front["base_model"] = trained.base
    front |= _license(trained, project)
    front["library_name"] = "transformers"
    if trained.stage != "rm":
        front["pipeline_tag"] = "text-generation"
    front["tags"] = ["llama-factory", "qtune", trained.finetuning_type, trained.stage]
    registrations = registrations_if_any(project)
    names = names_in(trained.config.get("train", "dataset"))
    if names:
        front["datasets"] = [_dataset(name, registrations) for name in names]
    record = trained.record
    metrics = dict(record.get("metrics") or {})
    steps = trained.checkpoint or record.get("global_step")
    values = {
        "front": yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        "name": trained.title,
        "base": PurePath(trained.base).name if local else trained.base,
        "preset": record.get("preset"),
        "method": _method(trained),
        "dtype": plan.dtype,
        "bits": plan.quantise["export_quantization_bit"].value if plan.quantise else None,
        "steps": steps,
        "datasets": names,
        "rows": _rows(trained, registrations),
        # those of a checkpoint are others
        "metrics": {
            name: metrics[name] for name in _SHOWN_METRICS if name in metrics and trained.checkpoint is None
        },
        "hyperparameters": _hyperparameters(trained),
        "processes": trained.config.processes,
        "versions": dict(record.get("versions") or {}),
        "check": comparison.summary if comparison is not None else None,
        "chats": trained.stage != "rm",
        "readers": readers,
        "gguf": gguf.FILE if plan.converter else None,
    }
    return without(Templates(project.sources, project.root).text(_TEMPLATE, values))


def _method(trained: Trained) -> str:
    """In the field's own words."""
    train = trained.config.block("train")
    if not trained.is_adapter:
        words = "full-parameter" if trained.finetuning_type == "full" else trained.finetuning_type
        return f"{words} training ({trained.stage})"
    names = {"use_dora": "DoRA", "use_rslora": "rsLoRA", "pissa_init": "PiSSA"}
    kinds = [name for key, name in names.items() if train.get(key)]
    bits = train.get("quantization_bit")
    words = " with ".join(kinds) or ("OFT" if trained.finetuning_type == "oft" else "LoRA")
    over = f" over the base in {bits} bits" if bits else ""
    return f"{words}{over} ({trained.stage}), merged into the unquantised base"


def _hyperparameters(trained: Trained) -> dict[str, Any]:
    """The values that shaped what was learned; no text but those that cannot be a path or a secret."""
    return {
        name: value
        for name, value in trained.config.block("train").items()
        if name in arguments() and not name.startswith(GROUPS["not_learned_prefixes"])
        if isinstance(value, bool | int | float) or name in GROUPS["shown_texts"]
    }


def _dataset(name: str, registrations: Mapping[str, Registration]) -> str:
    """The hub's id of a dataset that lies there, else the name that the project gave it."""
    found = registrations.get(name)
    hub = found.entry.get("hf_hub_url") if found is not None else None
    return hub if isinstance(hub, str) else name


def _rows(trained: Trained, registrations: Mapping[str, Registration]) -> int | None:
    """The rows that it trained on, None where they cannot be told or the data has changed since."""
    train = dict(trained.config.block("train"))
    train.pop("tokenized_path", None)  # made of these rows
    try:
        rows = count_training_rows(train, registrations)
        steps = predict_steps(train, rows, trained.config.processes) if rows is not None else None
    except (QtuneError, OSError):
        return None
    told = trained.record.get("predicted_steps")
    return rows if steps is not None and steps.total == told else None


def _license(trained: Trained, project: Project) -> dict[str, Any]:
    """What the base model's own card says, nothing where it says nothing."""
    train = {**trained.config.block("train"), "model_name_or_path": trained.base}
    file = model_file(FILE, train, project.root)
    front = _front_matter(file) if file is not None else {}
    return {name: front[name] for name in _LICENSE if isinstance(front.get(name), str)}


def _front_matter(file: Path) -> Mapping[str, Any]:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            text = stream.read(_CARD_BYTES)
        parts = text.split("---", 2)
        found = yaml.safe_load(parts[1]) if text.startswith("---") and len(parts) == 3 else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return found if isinstance(found, Mapping) else {}


def is_export(directory: Path) -> bool:
    """Whether a directory is an export of qtune's, by its card."""
    tags = _front_matter(directory / FILE).get("tags")
    return isinstance(tags, list) and "qtune" in tags and (directory / "config.json").is_file()
