"""What an evaluation gives LLaMA-Factory: a trained model or its base, the rows, and how it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from qtune.config.auto import AUTO, Known, auto_layer
from qtune.config.model import model_type
from qtune.config.resolve import merge
from qtune.machine.hardware import Hardware
from qtune.schema import arguments
from qtune.use.evaluation.data import PREFERENCES, Data
from qtune.use.infer import GROUPS, infer_settings, loading, names_of, settings
from qtune.use.models import Trained
from qtune.values import Config, Layer, Origin, Value

Kind = Literal["loss", "answers"]

_QTUNE = Origin("qtune")
_ONLY_GENERATING = GROUPS["only_generating_prefixes"]
# Answers that are the same in each evaluation, and as long as the library's own page asks for.
_ANSWERING = {"do_sample": False, "max_new_tokens": 512}


def given(assignments: Sequence[str]) -> Layer:
    """`--set KEY=VALUE` of an evaluation; raises QtuneError for what has no effect here."""
    allowed = [name for name in infer_settings() if not name.startswith(_ONLY_GENERATING)]
    more = (name for group in ("of_the_data", "decided_anew", "measuring") for name in GROUPS[group])
    return settings(assignments, (*allowed, *more))


def config_for(
    subject: Trained, kind: Kind, data: Data, given: Layer, hardware: Hardware, root: Path
) -> Config:
    """The arguments of one child: `subject`'s loss on the rows of `data`, or its answers to them.

    given: by `--set`, over what the run was trained with; root: the project's.
    """
    run = _of_the_run(subject, kind, data)
    fixed = _fixed(kind, data)
    of_answers = (*names_of("generating"), "per_device_eval_batch_size")
    last = {
        path: value for path, value in given.values.items() if kind == "answers" or path[1] not in of_answers
    }
    layers = [
        Layer("defaults", _paths(_own(_ANSWERING) if kind == "answers" else {})),
        Layer("run", _paths(run)),
        Layer("evaluation", _paths(fixed)),
        Layer("data", _paths(data.values)),
        Layer(given.name, last),
    ]
    merged = merge(subject.name, layers)
    return merge(subject.name, [*layers, auto_layer(Known(merged, hardware, model_type(merged, root)))])


def _of_the_run(subject: Trained, kind: Kind, data: Data) -> dict[str, Value]:
    config = subject.config
    values = {
        name: value for name, value in loading(subject).items() if not name.startswith(_ONLY_GENERATING)
    }
    kept = [name for name in GROUPS["of_the_data"] if data.stage == "sft" or name not in GROUPS["only_sft"]]
    if kind == "answers":
        kept += ["per_device_eval_batch_size", *names_of("generating")]
    if data.stage in PREFERENCES:
        kept += [name for name in arguments() if name.startswith(GROUPS["of_preferences_prefixes"])]
    values |= {name: found for name in kept if (found := config.find("train", name)) is not None}
    for name in GROUPS["decided_anew"]:
        found = config.find("train", name)
        decided = found is None or found.origin.layer.startswith(f"{AUTO} ")
        values[name] = Value(AUTO, _QTUNE) if found is None or decided else found
    if data.stage in ("dpo", "kto") and config.get("train", "ref_model") is None:
        # left out, the library takes the trained model for its own reference, and measures no reward
        values["ref_model"] = Value(subject.base, _QTUNE)
        bits = config.find("train", "quantization_bit")
        if bits is not None:
            values["ref_model_quantization_bit"] = bits
    return values


def _fixed(kind: Kind, data: Data) -> dict[str, Value]:
    plain: dict[str, object] = {"stage": data.stage, "do_train": False, "report_to": "none"}
    if kind == "loss":
        # each row by itself, so that the mean over rows does not change with the batch
        plain |= {"do_eval": True, "per_device_eval_batch_size": 1}
        if data.stage == "pt":
            plain["packing"] = False
    else:
        plain |= {"do_predict": True, "predict_with_generate": True}
    return _own(plain)


def _own(plain: Mapping[str, object]) -> dict[str, Value]:
    return {name: Value(value, _QTUNE) for name, value in plain.items()}


def _paths(values: Mapping[str, Value]) -> dict[tuple[str, ...], Value]:
    return {("train", name): value for name, value in values.items()}
