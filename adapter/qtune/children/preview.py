"""The token sequences that LLaMA-Factory makes of a few rows.

Request: LLaMA-Factory's arguments, whose `dataset` holds the rows. Answer: a list with an object for each
row: `error` where the library fails on it, else `sequences`, none where it drops the row, and for kto
`good`, its judgement. A sequence: name (chosen, rejected or null), tokens and trained (how many), whole (how
many it would be without cutoff_len), and pieces, its text in order as [text, trained].
"""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass
from typing import Any

_UNBOUND = 1 << 30
_PAIR = ("chosen", "rejected")


def rows(arguments: dict[str, Any], tell: object) -> list[dict[str, Any]]:
    try:
        return _preview(arguments)
    except Exception as error:
        traceback.print_exc()
        sys.exit(_first_cause(error))


def _first_cause(error: BaseException) -> str:
    """What went wrong below `error`, which may say only that something did."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _preview(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.data.loader import _get_dataset_processor, _get_merged_dataset
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    model, data, training, finetuning, _ = get_train_args(arguments)
    # llamafactory/train/dpo/workflow.py, run_dpo
    stage = "rm" if finetuning.stage == "dpo" else finetuning.stage
    loaded = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
    rows = _get_merged_dataset(data.dataset, model, data, training, stage)
    if data.packing and stage == "pt":
        data.cutoff_len = _UNBOUND  # texts are joined, and only what came of it is cut
    data.packing = False  # packing joins rows; each stands alone here
    processor = _get_dataset_processor(data, stage, template, **loaded)
    show = _Show(stage, loaded["tokenizer"], processor, data)
    return [show.row(row) for row in rows]


@dataclass(frozen=True)
class _Show:
    """The library's own objects, for one row after the other."""

    stage: str
    tokenizer: Any
    processor: Any
    data: Any

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        cutoff = self.data.cutoff_len
        try:
            made = self._processed(row, cutoff)
            whole = self._processed(row, _UNBOUND)
        except Exception as error:
            return {"error": _first_cause(error)}
        finally:
            self.data.cutoff_len = cutoff
        if not made:
            return {"sequences": []}
        names = _PAIR if self.stage == "rm" else (None,)
        answer: dict[str, Any] = {"sequences": [self._sequence(name, made, whole) for name in names]}
        return {**answer, "good": made["kto_tags"][0]} if self.stage == "kto" else answer

    def _processed(self, row: dict[str, Any], cutoff_len: int) -> dict[str, list[Any]]:
        self.data.cutoff_len = cutoff_len
        made = self.processor.preprocess_dataset({column: [value] for column, value in row.items()})
        return dict(made)

    def _sequence(
        self, name: str | None, made: dict[str, list[Any]], whole: dict[str, list[Any]]
    ) -> dict[str, Any]:
        prefix = f"{name}_" if name else ""
        ids = made[f"{prefix}input_ids"][0]
        trained = self._trained(ids, made, f"{prefix}labels")
        return {
            "name": name,
            "tokens": len(ids),
            "trained": sum(trained),
            "whole": len(whole[f"{prefix}input_ids"][0]),
            "pieces": self._pieces(ids, trained),
        }

    def _trained(self, ids: list[int], made: dict[str, list[Any]], labels: str) -> list[bool]:
        from llamafactory.extras.constants import IGNORE_INDEX

        if self.stage == "pt":  # the collator makes labels of all ids
            return [True] * len(ids)
        if self.stage == "ppo":  # the model answers for itself
            return [False] * len(ids)
        return [label != IGNORE_INDEX for label in made[labels][0]]

    def _pieces(self, ids: list[int], trained: list[bool]) -> list[tuple[str, bool]]:
        """The text in runs of trained and of masked tokens.

        Each is what it adds to the text before it, because how a token reads may depend on its neighbours.
        """
        pieces, before = [], ""
        for end in range(1, len(ids) + 1):
            if end == len(ids) or trained[end] != trained[end - 1]:
                text = self.tokenizer.decode(ids[:end], clean_up_tokenization_spaces=False)
                pieces.append((text[len(before) :], trained[end - 1]))
                before = text
        return pieces


if __name__ == "__main__":
    from protocol import serve

    serve(rows)
