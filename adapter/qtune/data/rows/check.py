"""What LLaMA-Factory does with each row of a dataset at a training stage, without the library.

The verdicts are those of its converters and processors (llamafactory/data/converter.py, data/processor) for
columns of the row's own types: whether all rows agree on the types is the file's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtune.data.attributes import attributes
from qtune.data.flaws import Flaw
from qtune.data.reading.block import Block
from qtune.data.reading.column_values import Values
from qtune.data.registrations import Registration
from qtune.data.rows.alpaca import AlpacaRows
from qtune.data.rows.conversations import ConversationRows
from qtune.data.rows.examples import Message, converter_for
from qtune.data.rows.hashes import block_hasher
from qtune.data.rows.media import MediaCheck
from qtune.data.rows.plain import recognizer
from qtune.data.rows.stages import processor_check
from qtune.data.rows.text import TextCheck
from qtune.data.rows.thoughts import ThoughtCheck
from qtune.schema.chat_templates import ChatTemplate


class RowCheck:
    """The flaws of single rows, for one registration and stage (pt, sft, rm, dpo, kto, ppo).

    media_directory: LLaMA-Factory's `media_dir`; template: the chat template, None where none is known;
    last_alone: whether only the last answer of a row is trained on; control_words: of the template and the
    tokenizer. A column or a message's key that a row lacks counts as null, which Arrow makes of it where
    other rows have it.
    """

    def __init__(
        self,
        registration: Registration,
        stage: str,
        media_directory: Path | None = None,
        template: ChatTemplate | None = None,
        *,
        last_alone: bool = False,
        control_words: Sequence[str] = (),
    ) -> None:
        names = attributes(registration)
        self._is_plain = recognizer(names, stage)
        self._media = MediaCheck(names, media_directory)
        self._format = ConversationRows(names) if names.conversation else AlpacaRows(names)
        self._convert = converter_for(names)
        self._processor = processor_check(names, stage, self._media)
        self._text = TextCheck(names, control_words, template.thought_words if template else ())
        self.thoughts = ThoughtCheck(names, stage, template, last_alone, registration.name)
        """Of rows that are trained on: what their thoughts lack."""
        self._hashes = block_hasher(names)

    def flaws(self, row: Any) -> Sequence[Flaw]:
        """Empty for a row that is trained on as it stands; else what is wrong, each thing once."""
        return () if self._is_plain(row) else self._look_closer(row)

    def conclusions(self) -> Sequence[Flaw]:
        """What is to be said of the dataset as a whole, once its rows were looked at."""
        return (Flaw.of("media-unseen"),) if self._media.unseen else ()

    def suspects(self, block: Block) -> bool:
        """Whether `text_flaws` may find something in the block; cheap, from the bytes it comes from."""
        return self._text.suspects(block)

    def text_flaws(self, row: Any) -> Sequence[Flaw]:
        """Characters and placeholders in the used columns that are trained on but hardly meant to be.

        Dearer than `flaws`, and for rows of a block that `suspects` alone.
        """
        return self._text.flaws(row) if isinstance(row, dict) else ()

    def contents(self, rows: Values) -> list[int]:
        """What is trained on of each row, as a number from 1 to 2**63 - 1 that rows with equal used columns
        share.

        Holds within one process, and among registrations of one formatting (qtune.data.rows.hashes).
        """
        return self._hashes(rows)

    def _look_closer(self, row: Any) -> Sequence[Flaw]:
        if not isinstance(row, dict):
            return (Flaw.of("not-an-object"),)
        if stops := [*self._format.unconvertible(row), *self._media.unconvertible(row)]:
            return stops
        example = self._convert(row)
        if not (_of_one_type(example.prompt) and _of_one_type(example.response)):
            return (Flaw.of("mixed-content"),)
        flaws = self._processor.flaws(row, example, self._format.out_of_order(row))
        if all(flaw.effect == "kept" for flaw in flaws):
            flaws += self._format.notes(row)
        return tuple(dict.fromkeys(flaws))


def _of_one_type(messages: Sequence[Message]) -> bool:
    """Whether Arrow can write the contents into one column."""
    return len({type(message.content) for message in messages if message.content is not None}) < 2
