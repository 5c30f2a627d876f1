"""Which rows an evaluation reads, and at which of LLaMA-Factory's stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qtune.data.registrations import Registration, names_in
from qtune.data.sources import guessed_stage
from qtune.errors import QtuneError
from qtune.use.models import Trained
from qtune.values import Origin, Value

PREFERENCES = ("dpo", "kto", "rm")
"""The stages whose data says which answers are good: what is measured is no text."""

_OPTION = "--dataset"
# With these the library draws the same rows from the training data as the training did.
_HELD_BACK = ("dataset", "val_size", "max_samples", "mix_strategy", "interleave_probs")
_PLAIN = ("sft", "pt")


@dataclass(frozen=True)
class Data:
    """The rows of an evaluation.

    name: what messages call them; directory: the name that their results get; stage: LLaMA-Factory's;
    values: the arguments that name them.
    """

    name: str
    directory: str
    stage: str
    values: Mapping[str, Value]


def choose(
    trained: Trained, registrations: Mapping[str, Registration], named: str | None, max_samples: int | None
) -> Data:
    """The dataset `named`, else what the run itself was evaluated on.

    max_samples: no more of its rows. Raises QtuneError where there is no such data, or none that says
    something of this model.
    """
    config = trained.config
    own = config.find("train", "eval_dataset")
    if named is None and own is None and config.get("train", "val_size", default=0):
        return _held_back(trained, max_samples)
    chosen = own if named is None else Value(named, Origin(_OPTION))
    names = names_in(chosen.value) if chosen is not None else []
    if chosen is None or not names:
        listed = f"; registered: {', '.join(registrations)}" if registrations else ""
        raise QtuneError(
            f"`{trained.name}` was trained without evaluation data", fix=f"name a dataset: -d NAME{listed}"
        )
    values = {"eval_dataset": chosen}
    if max_samples is not None:
        values["max_samples"] = Value(max_samples, Origin("--max-samples"))
    title = ", ".join(names)
    return Data(title, "+".join(map(file_name, names)), _stage(trained, registrations, names), values)


def _held_back(trained: Trained, max_samples: int | None) -> Data:
    """The share of the training data on which the run was evaluated, and not trained."""
    config = trained.config
    if max_samples is not None:
        raise QtuneError(
            f"`{trained.name}` held back a share of its data (val_size), and fewer rows make another share",
            where="--max-samples",
            fix="leave it out, or name a dataset: -d NAME",
        )
    if config.get("train", "streaming"):
        raise QtuneError(
            f"`{trained.name}` held its evaluation data back from a stream", fix="name a dataset: -d NAME"
        )
    found = {name: config.find("train", name) for name in _HELD_BACK}
    values = {name: value for name, value in found.items() if value is not None}
    stage = "sft" if trained.stage == "ppo" else trained.stage
    share = values["val_size"].value
    return Data(f"what val_size {share} held back", f"val_size-{share}", stage, values)


def _stage(trained: Trained, registrations: Mapping[str, Registration], names: list[str]) -> str:
    """The run's own for the data that it knows, for other data what its columns are made for."""
    config = trained.config
    known = {name for key in ("dataset", "eval_dataset") for name in names_in(config.get("train", key))}
    own = "sft" if trained.stage == "ppo" else trained.stage  # the library evaluates no ppo
    stages = {
        own if name in known else guessed_stage(registrations[name])
        for name in names
        if name in registrations  # the check of datasets names the others
    }
    if len(stages) > 1:
        raise QtuneError(
            f"these datasets are for different stages: {', '.join(sorted(stages))}",
            where=_OPTION,
            fix="evaluate them one by one",
        )
    stage = stages.pop() if stages else own
    if stage == "dpo" and own == "rm":
        return own  # both read pairs of answers
    if stage in PREFERENCES and stage != own:
        raise QtuneError(
            f"this data is for stage {stage}; `{trained.name}` was trained at stage {own}",
            where=_OPTION,
            fix="name data with a prompt and one answer a row, or plain texts",
        )
    if own == "rm" and stage in _PLAIN:
        raise QtuneError(
            f"`{trained.name}` is a reward model, which judges pairs of answers",
            where=_OPTION,
            fix="name data with ranked answers",
        )
    return stage


def file_name(name: str) -> str:
    """A dataset's name as part of a directory's: letters, digits, dots and dashes."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name).lstrip(".")
