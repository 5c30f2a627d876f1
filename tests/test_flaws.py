"""The table of flaws: well formed, and all of it used."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from trees import REPOSITORY

from qtune.data.flaws import Effect, Flaw
from qtune.files import table_beside

DATA = REPOSITORY / "adapter" / "qtune" / "data"
TABLE = table_beside(str(DATA / "flaws.py"), "flaws.yaml")


@pytest.mark.parametrize("id", TABLE)
def test_a_flaw_says_what_is_wrong_and_what_to_do(id: str) -> None:
    words = re.findall(r"\$(\w+)", f"{TABLE[id]['message']}\n{TABLE[id]['fix']}")
    flaw = Flaw.of(id, **dict.fromkeys(words, "word"))
    assert flaw.effect in get_args(Effect)
    assert flaw.kind and flaw.message and flaw.fix
    assert "$" not in flaw.message + flaw.fix
    assert set(TABLE[id]) <= {"kind", "effect", "message", "fix"}


def test_the_code_and_the_table_name_the_same_flaws() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DATA.rglob("*.py"))
    for word in ("prompt", "answer"):  # the ids that are put together
        text += f'"empty-{word}" "blank-{word}"'
    named = set(re.findall(r'"([a-z-]+)"', text))
    assert set(TABLE) - named == set()
    direct = re.findall(r'(?:Flaw\.of|blame|_no_messages)\("([a-z-]+)"', text)
    assert set(direct) - set(TABLE) == set()


def test_a_flaw_that_the_table_lacks_is_an_error() -> None:
    with pytest.raises(KeyError):
        Flaw.of("unheard-of")
    with pytest.raises(KeyError):
        Flaw.of("no-column")
