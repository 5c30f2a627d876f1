"""How many tokens a text is: counted with the model's own tokenizer where it is on this machine."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qtune.config.model import model_file, special_tokens, tokenizer_settings
from qtune.errors import QtuneError
from qtune.schema.chat_templates import ChatTemplate

FILE = "tokenizer.json"


# "1 English character ≈ 0.3 token, 1 Chinese character ≈ 0.6 token": DeepSeek's API documents, "Token &
# Token Usage". Qwen's say 3 to 4 English characters or 1.5 to 1.8 Chinese ones a token, which is the same.
_TOKENS_PER_CHARACTER = 0.3
_TOKENS_PER_CJK_CHARACTER = 0.6
_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")


class Tokenizer(ABC):
    """What counts tokens.

    source: where the counts come from, in words; exact: whether they are the library's own.
    bos, eos: the text of these tokens, empty where the tokenizer has none; adds_bos: whether the library
    puts bos before a text for pre-training.
    """

    source: str
    exact: bool
    bos: str
    eos: str
    adds_bos: bool

    @abstractmethod
    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text, tokenized apart from the others."""


class CharacterEstimate(Tokenizer):
    """Tokens guessed from the number of characters, for a model whose tokenizer is not here."""

    exact = False
    bos = ""
    eos = "</s>"
    adds_bos = False

    def __init__(self, model: str) -> None:
        self.source = f"estimated from characters, because the tokenizer of {model} is not on this machine"

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [self._length(text) for text in texts]

    def _length(self, text: str) -> int:
        wide = 0 if text.isascii() else len(_CJK.findall(text))
        tokens = _TOKENS_PER_CJK_CHARACTER * wide + _TOKENS_PER_CHARACTER * (len(text) - wide)
        return max(round(tokens), 1) if text else 0


class ModelTokenizer(Tokenizer):
    """A tokenizer.json as LLaMA-Factory loads it and prepares it for a chat template.

    Sources: llamafactory/model/loader.py, load_tokenizer; model/patcher.py, patch_tokenizer;
    data/template.py, fix_special_tokens.
    """

    exact = True

    def __init__(self, directory: Path, template: ChatTemplate, train: Mapping[str, Any]) -> None:
        """Raises QtuneError where `tokenizers` is not installed or the file is broken."""
        try:
            import tokenizers
        except ImportError:
            raise QtuneError(
                "counting tokens needs the package `tokenizers`", fix="pip install 'qtune[data]'"
            ) from None
        path = directory / FILE
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises plain Exception
            raise QtuneError(f"is no tokenizer: {error}", where=str(path), fix="download it again") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.source = f"counted with {path}"
        settings = tokenizer_settings(directory)
        named = special_tokens(settings)
        self.bos, self.eos = named.get("bos_token", ""), named.get("eos_token", "")
        self.adds_bos = bool(settings.get("add_bos_token"))
        self._add([token for token in named.values() if self._tokenizer.token_to_id(token) is None])
        self._tokenizer.add_tokens(_listed(train.get("add_tokens")))
        self._add(_listed(train.get("add_special_tokens")))
        eos = template.end_token(self.eos)
        if eos != self.eos:
            self.eos = eos
            self._add([eos])
        self._add(list(template.stop_words[template.replace_eos :]))
        self._tokenizer.encode_special_tokens = bool(train.get("split_special_tokens"))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        once = list(dict.fromkeys(texts))  # a template's own pieces and system prompts come in every row
        encoded = self._tokenizer.encode_batch_fast(once, add_special_tokens=False)
        found = dict(zip(once, map(len, encoded), strict=True))
        return [found[text] for text in texts]

    def _add(self, tokens: list[str]) -> None:
        from tokenizers import AddedToken

        self._tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in tokens])


def load_tokenizer(train: Mapping[str, Any], template: ChatTemplate, root: Path) -> Tokenizer:
    """The tokenizer of the model that a config trains, an estimate where it is not on this machine.

    train: LLaMA-Factory arguments. Raises QtuneError as `ModelTokenizer` does.
    """
    file = model_file(FILE, train, root)
    if file is None:
        return CharacterEstimate(str(train.get("model_name_or_path") or "the model"))
    return ModelTokenizer(file.parent, template, train)


def _listed(value: Any) -> list[str]:
    """An argument that holds tokens: text with commas between, or a list."""
    parts = value.split(",") if isinstance(value, str) else value or []
    return [str(part).strip() for part in parts]
