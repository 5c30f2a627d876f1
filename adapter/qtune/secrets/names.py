"""Which names of variables, arguments and parameters of an address stand before a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_LAST = {"token", "key", "secret", "credential", "credentials", "authorization", "signature", "sig", "pwd"}
_ENDINGS = ("password", "passwd", "passphrase", "apikey", "secret")
_OF_A_VOCABULARY = {
    *("bos", "eos", "pad", "unk", "sep", "cls", "mask", "special", "prefix", "middle", "suffix"),
    *("image", "video", "audio", "vision", "start", "end", "stop"),
}
"""Before `token`: one that a tokenizer knows, such as `eos_token`."""

_SHORTEST = 8  # a shorter value, such as `1`, would be found everywhere


@lru_cache(maxsize=4096)  # presets name the same arguments again and again
def is_secret(name: str) -> bool:
    """Whether a variable, argument or parameter of this name holds a secret.

    `cutoff_len`, `max_new_tokens`, `pad_token`, `eos_token_id` and `tokenized_path` hold none.
    """
    before, last = ["", "", *(word.lower() for word in _WORD.findall(name))][-2:]
    if last == "token":
        return before not in _OF_A_VOCABULARY
    return last in _LAST or last.endswith(_ENDINGS) or (before, last) == ("webhook", "url")


def known(environment: Mapping[str, str]) -> list[str]:
    """The secret values of an environment, longest first."""
    found = {value for name, value in environment.items() if is_secret(name) and len(value) >= _SHORTEST}
    return sorted(found, key=len, reverse=True)
