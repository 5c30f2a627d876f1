"""How long rows are in tokens, and what cutoff_len leaves of them, at each training stage.

Each class is named for the one of llamafactory/data/processor that it follows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtune.data.lengths.chat import Chat, Turn
from qtune.data.lengths.tokens import Tokenizer
from qtune.data.lengths.vision import MediaTokens
from qtune.data.rows.examples import ASSISTANT, Converter, Example, Message
from qtune.schema import argument
from qtune.schema.chat_templates import EOS, Element

_UNREADABLE = (AttributeError, IndexError, KeyError, OSError, TypeError, ValueError)
"""What converting and encoding raises for a row that the library crashes on; OSError is of media files."""

_MOST_WITH_MEDIA = 64
"""So many rows are tokenized at once where each may have thousands of tokens of media."""

_LLAMA3_END_OF_TEXT = "<|end_of_text|>"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of one row before anything is cut off.

    pairs: (prompt, answer) of each turn; of the chosen and the rejected answer at stage rm and in dpo; of
    the row's answer and the one that its KL estimate borrows at stage kto. whole: what cutoff_len has to
    hold; turns: answers in the row; characters: of the row's texts; exact: whether the library counts alike.
    """

    pairs: tuple[tuple[int, int], ...]
    whole: int
    turns: int
    characters: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Fitted:
    """What cutoff_len leaves of a row.

    sequences: the tokens of each sequence that the model is given; labels: tokens trained on; lost: tokens
    that would have been trained on; kept: what is left of each of the row's pairs.
    """

    sequences: tuple[int, ...]
    labels: int
    lost: int
    kept: tuple[tuple[int, int], ...]


class Processor(ABC):
    """Rows to lengths for one stage; `fit` takes the cutoff_len of `cutoff_of`.

    media: what stands in the place of images and videos, None where they are not counted.
    """

    padded_together = True
    """Whether a row's sequences lie in one batch."""
    multiple = 8
    """What padding is rounded up to (pad_to_multiple_of in train/…/workflow.py)."""

    def __init__(self, chat: Chat, tokenizer: Tokenizer, media: MediaTokens | None = None) -> None:
        self.chat = chat
        self.tokenizer = tokenizer
        self.media = media

    def measure(self, examples: Sequence[Example | None]) -> list[Lengths | None]:
        """The lengths of one preprocessing batch; None for a row that is None, left out or unreadable."""
        most = len(examples) if self.media is None else _MOST_WITH_MEDIA
        starts = range(0, len(examples), max(most, 1))
        return [found for start in starts for found in self._measured(examples, start, start + most)]

    def _measured(self, examples: Sequence[Example | None], start: int, end: int) -> Iterator[Lengths | None]:
        """The lengths of some of the examples."""
        some = examples[start:end]
        turns = [self._turns(index, examples) for index in range(start, start + len(some))]
        parts = [part for found in turns for turn in found for part in (turn.source, turn.target)]
        counts = iter(self._count(parts))
        for example, found in zip(some, turns, strict=True):
            pairs = tuple((next(counts), next(counts)) for _ in found)
            if example is None or not pairs:
                yield None
                continue
            characters = len(example.system) + sum(
                len(message.content) for message in (*example.prompt, *example.response)
            )
            exact = self.tokenizer.exact and self.chat.is_exact(example, counted=self.media is not None)
            turns_in_row = len(example.prompt) // 2 + 1
            yield Lengths(pairs, self._whole(pairs), turns_in_row, characters, exact)

    def loses_media(self, index: int, examples: Sequence[Example | None], fitted: Fitted) -> bool:
        """Whether tokens of pictures or videos are cut off: the model stops at a row that lacks some.

        fitted: what is left of that one of the examples.
        """
        if self.media is None:
            return False
        turns = self._turns(index, examples)
        heads = [self.media.head(part) for turn in turns for part in (turn.source, turn.target)]
        kept = (length for pair in fitted.kept for length in pair)
        return any(length < needed for length, needed in zip(kept, self._count(heads), strict=True))

    @abstractmethod
    def fit(self, pairs: Sequence[tuple[int, int]], cutoff_len: int) -> Fitted:
        """What cutoff_len leaves of a row."""

    @abstractmethod
    def _encode(self, example: Example, previous: Example | None) -> list[Turn]:
        """The pieces to count, none for a row that is left out; previous: the row before in the batch."""

    def _whole(self, pairs: Sequence[tuple[int, int]]) -> int:
        return sum(pairs[0])

    def _turns(self, index: int, examples: Sequence[Example | None]) -> list[Turn]:
        example = examples[index]
        if example is None:
            return []
        try:
            return self._encode(example, examples[index - 1])
        except _UNREADABLE:
            return []

    def _count(self, parts: Sequence[Sequence[Element]]) -> list[int]:
        texts = [element for part in parts for element in part if isinstance(element, str) and element]
        lengths = iter(self.tokenizer.lengths(texts))
        own = {
            "token": 1,
            "bos_token": int(bool(self.tokenizer.bos)),
            "eos_token": int(bool(self.tokenizer.eos)),
        }
        return [
            sum(next(lengths) if isinstance(piece, str) else own[piece.kind] for piece in part if piece)
            for part in parts
        ]

    def _messages(self, example: Example, answers: Sequence[Message]) -> Sequence[Message]:
        messages = [*example.prompt, *answers]
        return messages if self.media is None else self.media.expanded(messages, example)

    def _one_turn(self, example: Example, answer: Message) -> Turn:
        turn = self.chat.turn(self._messages(example, [answer]), example.system, example.tools)
        if self.chat.template.efficient_eos:
            turn.target.append(EOS)
        return turn


class SupervisedProcessor(Processor):
    """sft"""

    def _encode(self, example: Example, previous: Example | None) -> list[Turn]:
        if len(example.prompt) % 2 != 1 or len(example.response) != 1:
            return []
        messages = self._messages(example, example.response)
        return self.chat.turns(messages, example.system, example.tools)

    def _whole(self, pairs: Sequence[tuple[int, int]]) -> int:
        return sum(source + target for source, target in pairs) + self.chat.template.efficient_eos

    def fit(self, pairs: Sequence[tuple[int, int]], cutoff_len: int) -> Fitted:
        mask_history, train_on_prompt = self.chat.mask_history, self.chat.train_on_prompt
        efficient_eos = self.chat.template.efficient_eos
        length = labels = int(efficient_eos)
        lost = 0
        kept = []
        for index, (source, target) in enumerate(reversed(pairs) if mask_history else pairs):
            trained = not mask_history or index == 0
            room = cutoff_len - length
            kept_source, kept_target = infer_seqlen(source, target, room) if room > 0 else (0, 0)
            kept.append((kept_source, kept_target))
            if trained:
                labels += kept_target
                lost += target - kept_target
            if room > 0:
                length += kept_source + kept_target
                # an answer ends with the token that the next prompt's first place is labelled with
                labels += kept_source if train_on_prompt else int(efficient_eos and index > 0)
        return Fitted((length,), labels, lost, tuple(reversed(kept) if mask_history else kept))


class PairwiseProcessor(Processor):
    """rm, and dpo"""

    def _encode(self, example: Example, previous: Example | None) -> list[Turn]:
        if len(example.prompt) % 2 != 1 or len(example.response) < 2:
            return []
        chosen, rejected = (self._one_turn(example, answer) for answer in example.response[:2])
        return [chosen, Turn(chosen.source, rejected.target)]

    def _whole(self, pairs: Sequence[tuple[int, int]]) -> int:
        return pairs[0][0] + max(answer for _, answer in pairs)

    def fit(self, pairs: Sequence[tuple[int, int]], cutoff_len: int) -> Fitted:
        answers = [answer for _, answer in pairs]
        source, longest = infer_seqlen(pairs[0][0], max(answers), cutoff_len)
        kept = [min(answer, longest) for answer in answers]
        return Fitted(
            tuple(source + answer for answer in kept),
            sum(kept),
            sum(answers) - sum(kept),
            tuple((source, answer) for answer in kept),
        )


class FeedbackProcessor(Processor):
    """kto"""

    padded_together = False

    def _encode(self, example: Example, previous: Example | None) -> list[Turn]:
        if len(example.prompt) % 2 != 1 or len(example.response) < 2:
            return []
        borrowed = previous if previous is not None and len(previous.response) > 1 else example
        return [self._one_turn(example, _judged(one)) for one in (example, borrowed)]

    def fit(self, pairs: Sequence[tuple[int, int]], cutoff_len: int) -> Fitted:
        kept = tuple(infer_seqlen(source, answer, cutoff_len) for source, answer in pairs)
        return Fitted(tuple(map(sum, kept)), kept[0][1], pairs[0][1] - kept[0][1], kept)


class UnsupervisedProcessor(Processor):
    """ppo, which generates the answers itself"""

    multiple = 1

    def _encode(self, example: Example, previous: Example | None) -> list[Turn]:
        if len(example.prompt) % 2 != 1:
            return []
        answer = example.response[0] if len(example.response) == 1 else Message(ASSISTANT, "")
        return [self._one_turn(example, answer)]

    def fit(self, pairs: Sequence[tuple[int, int]], cutoff_len: int) -> Fitted:
        source, answer = infer_seqlen(*pairs[0], cutoff_len)
        return Fitted((source,), 0, 0, ((source, answer),))


class PretrainProcessor(Processor):
    """pt, without packing"""

    multiple = 1

    def __init__(self, chat: Chat, tokenizer: Tokenizer, llama3: bool, packing: bool) -> None:
        super().__init__(chat, tokenizer)
        self._begin = tokenizer.bos if tokenizer.adds_bos and not packing else ""
        self._end = _LLAMA3_END_OF_TEXT if llama3 else tokenizer.eos

    def _encode(self, example: Example, previous: Example | None) -> list[Turn]:
        return [Turn([], [self._begin + example.prompt[0].content + self._end])]

    def fit(self, pairs: Sequence[tuple[int, int]], cutoff_len: int) -> Fitted:
        kept = min(pairs[0][1], cutoff_len)
        return Fitted((kept,), kept, pairs[0][1] - kept, ((0, kept),))


_PROCESSORS: Mapping[str, type[Processor]] = {
    "sft": SupervisedProcessor,
    "rm": PairwiseProcessor,
    "dpo": PairwiseProcessor,
    "kto": FeedbackProcessor,
    "ppo": UnsupervisedProcessor,
}
"""llamafactory/data/loader.py, _get_dataset_processor; train/dpo/workflow.py asks for the one of rm."""


def processor_for(
    train: Mapping[str, Any], chat: Chat, tokenizer: Tokenizer, media: MediaTokens | None = None
) -> Processor:
    """The processor that a config trains with; train: LLaMA-Factory arguments."""
    stage = argument(train, "stage")
    if stage == "pt":
        return PretrainProcessor(chat, tokenizer, train.get("template") == "llama3", packs(train))
    return _PROCESSORS[stage](chat, tokenizer, media)


def readable(row: Any, convert: Converter) -> Example | None:
    """The row converted, None where that fails."""
    try:
        return convert(row)
    except _UNREADABLE:
        return None


def packs(train: Mapping[str, Any]) -> bool:
    """Whether rows share sequences (hparams/data_args.py, hparams/parser.py)."""
    stage = argument(train, "stage")
    packing = train.get("packing")
    if train.get("neat_packing") or (packing is None and stage == "pt"):
        return True
    return bool(packing) and stage in ("sft", "pt")


def cutoff_of(train: Mapping[str, Any]) -> int:
    """The library's own cutoff_len: one less than the config's where packing is asked for (data_args.py)."""
    given = argument(train, "cutoff_len")
    return int(given) - bool(train.get("packing") or train.get("neat_packing"))


def infer_seqlen(source: int, target: int, cutoff_len: int) -> tuple[int, int]:
    """Tokens of a prompt and its answer that are kept (llamafactory/data/processor/processor_utils.py)."""
    if target * 2 < cutoff_len:
        most = cutoff_len
    elif source * 2 < cutoff_len:
        most = cutoff_len - source
    else:
        most = int(cutoff_len * (target / (source + target)))
    kept_target = min(most, target)
    return min(max(cutoff_len - kept_target, 0), source), kept_target


def _judged(example: Example) -> Message:
    good, bad = example.response[:2]
    return good if good.content else bad
