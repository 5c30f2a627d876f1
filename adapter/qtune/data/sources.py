"""Which datasets a config reads from local files, and at which stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtune.config.model import text_ends
from qtune.data.registrations import CONVERSATIONS, Registration, names_in
from qtune.values import Config

if TYPE_CHECKING:
    from qtune.schema.chat_templates import ChatTemplate


@dataclass(frozen=True, slots=True)
class DataSource:
    """A registered dataset of local files, and what it is for.

    stage: LLaMA-Factory's; evaluation: whether it is an `eval_dataset`; media_directory: `media_dir`, None
    where none is set; most_rows: `max_samples`, None for all rows; template: None where none is known;
    last_alone: whether only the last answer of a row is trained on; control_words: what no text should hold.
    """

    registration: Registration
    stage: str
    evaluation: bool = False
    media_directory: Path | None = None
    most_rows: int | None = None
    template: ChatTemplate | None = None
    last_alone: bool = False
    control_words: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        path = self.registration.path
        assert path is not None
        return path


def is_local(registration: Registration) -> bool:
    """Whether its files lie here."""
    return registration.path is not None and registration.path.exists()


def uses_of(config: Config) -> list[tuple[str, bool]]:
    """The names in `dataset`, False with each, and then those in `eval_dataset`, True with each."""
    uses = (("dataset", False), ("eval_dataset", True))
    named = [(name, evaluation) for key, evaluation in uses for name in names_in(config.get("train", key))]
    return list(dict.fromkeys(named))


def sources_of(config: Config, registrations: Mapping[str, Registration], root: Path) -> list[DataSource]:
    """What `config` reads from local files; root: the project's, where trainings start."""
    return [
        source_for(registrations[name], evaluation, config, root)
        for name, evaluation in uses_of(config)
        if name in registrations and is_local(registrations[name])
    ]


def source_for(registration: Registration, evaluation: bool, config: Config, root: Path) -> DataSource:
    """The dataset as `config` would read it, or reads it."""
    stage = config.argument("stage")
    directory = media_directory(config.block("train"), root)
    path = registration.path
    # drawn rows may be any, and so may be the first rows of a folder: its files come in any order
    drawn = registration.entry.get("num_samples") or path is None or path.is_dir()
    most_rows = None if drawn else config.get("train", "max_samples")
    source = DataSource(registration, stage, evaluation, directory, most_rows)
    return with_template(source, config, root)


def with_template(source: DataSource, config: Config, root: Path) -> DataSource:
    """The dataset as the chat template and the tokenizer of `config` have it."""
    from qtune.schema.chat_templates import configured  # for which a table is read

    train = config.block("train")
    template = configured(train)
    words: tuple[str, ...] = ()
    if source.stage != "pt":  # whose texts are taken as they stand
        own = text_ends(train, root)
        words = tuple(dict.fromkeys((*(template.control_words if template else ()), *own)))
    last_alone = bool(train.get("mask_history"))
    return replace(source, template=template, last_alone=last_alone, control_words=words)


def media_directory(train: Mapping[str, Any], root: Path) -> Path | None:
    """`media_dir` of LLaMA-Factory arguments, None where none is set."""
    given = train.get("media_dir")
    return root / Path(given).expanduser() if isinstance(given, str) else None


def guessed_stage(registration: Registration) -> str:
    """The stage that the registration's columns are made for."""
    columns = registration.columns()
    if registration.entry.get("ranking"):
        return "dpo"
    if columns.get("kto_tag"):
        return "kto"
    plain = registration.formatting not in CONVERSATIONS and columns.get("prompt")
    return "pt" if plain and not columns.get("response") else "sft"
