"""A few rows of a dataset as LLaMA-Factory trains on them: the library itself says, in a child process."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from qtune.data.reading.json_lines import OnFlaw, Record, pick
from qtune.data.registrations import Registration, complete_entry
from qtune.data.token_cache import token_arguments
from qtune.errors import QtuneError
from qtune.processes import child
from qtune.values import DATASETS, Config

_MORE_ARGUMENTS = ("cache_dir", "media_dir", "reward_model", "reward_model_type")
# What mixes, holds back or leaves out rows, or asks for a machine: here are a few rows of one dataset.
_OF_A_TRAINING = {
    "eval_dataset": None,
    "eval_on_each_dataset": False,
    "interleave_probs": None,
    "mix_strategy": "concat",
    "predict_with_generate": False,
    "preprocessing_num_workers": None,
    "val_size": 0.0,
}
ON_A_CPU = {"do_train": True, "use_cpu": True, "report_to": "none"}


@dataclass(frozen=True)
class TokenSequence:
    """Tokens that a row becomes.

    name: `chosen` or `rejected`, None where it is the only one; tokens, trained: how many; whole: how many
    it would be without cutoff_len; pieces: the text in order, each with whether it is trained on.
    """

    name: str | None
    tokens: int
    trained: int
    whole: int
    pieces: Sequence[tuple[str, bool]]


@dataclass(frozen=True)
class Sample:
    """One row: where it stands, and what the library makes of it.

    sequences: none where the library leaves the row out; good: kto's judgement; error: what the library
    fails with on this row, which would end the training.
    """

    file: str
    line: int
    sequences: Sequence[TokenSequence] = ()
    good: bool | None = None
    error: str | None = None


def preview(
    registration: Registration, config: Config, root: Path, count: int, seed: int | None, on_flaw: OnFlaw
) -> list[Sample]:
    """The first `count` rows, with a seed as many random ones, as a training by `config` would see them.

    root: the project's. Only these rows are given to the library; of data that lies elsewhere it loads what
    a training loads, and the lines count its rows. Packing, which joins rows, is left out.
    Raises QtuneError where there is no row or no LLaMA-Factory, and for random rows of data that lies
    elsewhere; ChildFailed where the library fails.
    """
    source = registration.path
    if source is None and seed is not None:
        elsewhere = f"does not go with `{registration.name}`, which lies elsewhere"
        raise QtuneError(elsewhere, where="--seed", fix="leave it out for the first rows")
    script = child.script("preview.py")
    train = config.block("train")
    wanted = (*token_arguments(), *_MORE_ARGUMENTS)
    arguments = {name: train[name] for name in wanted if train.get(name) is not None}
    variables = {"CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory(prefix="qtune-") as name:
        directory = Path(name)
        picked = None
        if source is None:
            places = [(registration.name, number) for number in range(1, count + 1)]
        else:
            picked = pick(source, count, seed, on_flaw)
            if not picked:
                raise QtuneError("holds no rows", where=str(source), fix="name a file with data")
            variables["HF_DATASETS_CACHE"] = str(directory / "cache")
            places = [(str(record.file), record.line) for record in picked]
        lay_out(registration, picked, directory)
        request = {
            **arguments,
            **_OF_A_TRAINING,
            **ON_A_CPU,
            "dataset": registration.name,
            "max_samples": count,
            "dataset_dir": str(directory),
            "output_dir": str(directory / "output"),
        }
        what = "LLaMA-Factory fails on this"
        made = child.ask(script, request, what, directory=root, variables=variables)
    return [_sample(file, line, plain) for (file, line), plain in zip(places, made, strict=False)]


def lay_out(registration: Registration, picked: Sequence[Record] | None, directory: Path) -> None:
    """Register it in `directory` with these rows alone, or where they are None as it is.

    A column that only other rows have is null, as the library makes it there.
    """
    entry = complete_entry(registration, directory)
    entry.pop("num_samples", None)
    if picked is not None:
        entry["file_name"] = "rows.jsonl"
        absent = {column: None for column in entry.get("columns", {}).values() if isinstance(column, str)}
        lines = b"".join(orjson.dumps({**absent, **record.row}) + b"\n" for record in picked)
        (directory / "rows.jsonl").write_bytes(lines)
    (directory / DATASETS).write_text(json.dumps({registration.name: entry}), encoding="utf-8")


def _sample(file: str, line: int, plain: Mapping[str, Any]) -> Sample:
    sequences = [
        TokenSequence(**{**sequence, "pieces": [(text, trained) for text, trained in sequence["pieces"]]})
        for sequence in plain.get("sequences", ())
    ]
    return Sample(file, line, sequences, plain.get("good"), plain.get("error"))
