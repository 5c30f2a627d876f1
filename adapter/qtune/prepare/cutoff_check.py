"""The rows that cutoff_len cuts, as one more check in a scan of datasets, and what its answer hangs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qtune.config.model import model_file
from qtune.data.digests import sha256
from qtune.data.lengths.cutoff import cut_answers
from qtune.data.lengths.tokens import FILE
from qtune.data.scanning.scan import Extra
from qtune.data.sources import DataSource
from qtune.data.token_cache import token_arguments
from qtune.errors import QtuneError
from qtune.values import Config

# Which rows a training takes, and in what order, changes none of them.
_OF_OTHER_MEANING = (
    *("dataset", "eval_dataset", "eval_on_each_dataset", "mix_strategy", "interleave_probs", "max_samples"),
    *("preprocessing_batch_size", "preprocessing_num_workers", "seed", "stage", "val_size"),
)


@dataclass
class CutoffCheck:
    """Looks for rows that lose tokens to train on at the cutoff_len, template and model of a config.

    root: the project's; unsaid: called with what could not be looked at, and why, each reason once.
    """

    config: Config
    root: Path
    unsaid: Callable[[str], None] = lambda why: None
    _reasons: set[str] = field(default_factory=set)

    def of(self, source: DataSource) -> Extra | None:
        """The check of one dataset's rows, None where it cannot be made."""
        train = {**self.config.block("train"), "stage": source.stage}
        try:
            return cut_answers(train, source.registration, self.root)
        except QtuneError as error:
            if error.what not in self._reasons:
                self._reasons.add(error.what)
                name = source.registration.name
                self.unsaid(f"{name}: whether cutoff_len cuts answers was not looked at: {error.what}")
            return None

    @property
    def basis(self) -> list[Any]:
        """What the answer hangs on beside the rows and their stage, as values for JSON."""
        train = self.config.block("train")
        arguments = [(key, train.get(key)) for key in token_arguments() if key not in _OF_OTHER_MEANING]
        file = model_file(FILE, train, self.root)
        beside = ("tokenizer_config.json", "special_tokens_map.json")
        files = [] if file is None else [file, *(file.with_name(name) for name in beside)]
        hashes = [(path.name, sha256(path)) for path in files if path.is_file()]
        return [arguments, hashes, find_spec("tokenizers") is not None]
