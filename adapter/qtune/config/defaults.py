"""The `defaults:` of qtune.yaml: arguments that hold where no preset, option or other block sets them.

They lie above `base` and below every other preset. Evaluation rows among them go with their training data.
"""

from __future__ import annotations

from qtune.config.auto import AUTO
from qtune.errors import QtuneError
from qtune.files import Document, leaves
from qtune.values import Config, Layer, Origin, Value

DEFAULTS = "defaults"
LAYER = "project defaults"
"""No preset can be called that."""

_DATASET = ("train", "dataset")
_EVALUATION = (("train", "eval_dataset"), ("train", "val_size"))
_WITHDRAWN = f"{LAYER} withdrawn"


def defaults_layer(document: Document) -> Layer | None:
    """The block of a qtune.yaml as a layer, None where there is none. Raises QtuneError for no mapping."""
    given = document.data.get(DEFAULTS)
    if given is None:
        return None
    if not isinstance(given, dict):
        fix = f"indent its keys below `{DEFAULTS}:`"
        raise QtuneError(f"`{DEFAULTS}` takes a mapping of keys", where=document.where(DEFAULTS), fix=fix)
    display, lines = document.display, document.lines
    values = {
        ("train", *path): Value(value, Origin(LAYER, display, lines.get((DEFAULTS, *path))))
        for path, value in leaves(given)
    }
    return Layer(LAYER, values, display, document.sha256)


def withdrawn_layer(config: Config) -> Layer | None:
    """A layer that takes default evaluation rows out, None where they stay.

    They were chosen for the default dataset, so they go where another one is named. They also go where other
    evaluation rows are: LLaMA-Factory refuses `eval_dataset` beside `val_size` (hparams/data_args.py), of
    which `auto` gives way by itself.
    """
    found = {path: value for path in _EVALUATION if (value := config.find(*path)) is not None}
    defaults = [path for path, value in found.items() if value.origin.layer == LAYER]
    named = any(value.origin.layer != LAYER and value.value not in (AUTO, 0) for value in found.values())
    datasets = [layer.values[_DATASET] for layer in config.layers if _DATASET in layer.values]
    default = next((value.value for value in datasets if value.origin.layer == LAYER), None)
    moved = default is not None and config.get(*_DATASET) != default
    if not defaults or not (named or moved):
        return None
    return Layer(_WITHDRAWN, {path: Value(None, Origin(_WITHDRAWN)) for path in defaults})


def withdrawal(config: Config) -> str | None:
    """That no rows are left to evaluate on, where default ones were taken out; else None."""
    # of a config that was read back the layers' names alone are known
    withdrawn = [path[-1] for layer in config.layers if layer.name == _WITHDRAWN for path in layer.values]
    if not withdrawn or any(config.find(*path) for path in _EVALUATION):
        return None
    dataset = str(config.get(*_DATASET))
    return (
        f"nothing is evaluated: qtune.yaml's default `{withdrawn[0]}` goes with its default `dataset`; "
        f"`qtune data split {'NAME' if ',' in dataset else dataset} --eval 5%` sets rows aside, "
        "-s val_size=0.05 does so while training"
    )
