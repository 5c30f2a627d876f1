"""Pages: templates of qtune's own that escape every value, and need nothing but themselves."""

from __future__ import annotations

import jinja2
import pytest
from trees import REPOSITORY

from qtune.pages.page import page

EVALUATION = {"columns": [""], "scores": [], "whose": ["<i>"], "rows": [], "more": ""}


def test_every_value_is_escaped() -> None:
    made = page("evaluation", {"title": "<b>&", **EVALUATION})
    assert "<h1>&lt;b&gt;&amp;</h1>" in made and "<title>&lt;b&gt;&amp;</title>" in made
    assert "<th>&lt;i&gt;</th>" in made


def test_a_value_that_is_not_given_is_no_empty_text() -> None:
    with pytest.raises(jinja2.UndefinedError, match="title"):
        page("evaluation", EVALUATION)


def test_pages_share_one_stylesheet_and_run_nothing() -> None:
    templates = list((REPOSITORY / "templates").glob("*.html.j2"))
    texts = {path.name: path.read_text(encoding="utf-8") for path in templates}
    assert [name for name, text in texts.items() if "<style" in text] == ["page.html.j2"]
    assert not any(word in text for text in texts.values() for word in ("<script", "http", "| safe", "src="))
