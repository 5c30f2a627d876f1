"""A model's own chat template, run as qtune runs it and as transformers does."""

from __future__ import annotations

from typing import Any

import pytest

from qtune.checks.conversations import _compiled
from qtune.sandbox import bounded, fill

pytest.importorskip("transformers")

MESSAGES = [
    {"role": "system", "content": " be brief "},
    {"role": "user", "content": "<b>Grüße</b> & 'mehr'"},
    {"role": "assistant", "content": "ja"},
]
TOOLS = [{"type": "function", "function": {"name": "größe", "parameters": {"a": [1, None, True]}}}]


@pytest.mark.parametrize(
    "text",
    [
        "{% for m in messages %}\n {% if loop.last %}{% break %}{% endif %}\n{{ m.content }}\n {% endfor %}",
        "{{ tools | tojson }}{{ tools | tojson(indent=2) }}{{ tools | tojson(ensure_ascii=True) }}",
        "a\n    {%- generation %} {{ messages[2].content }}\n {% endgeneration -%}\n b",
        "{{ messages[0].content | trim }}{{ messages[1].content }}{{ undefined_name }}{{ bos_token }}",
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
        "{% if add_generation_prompt %}{{ strftime_now('%Y') }}{% endif %}{{ documents is none }}",
    ],
)
def test_it_writes_the_same(text: str) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    values: dict[str, Any] = {"tools": TOOLS, "add_generation_prompt": True, "bos_token": "<s>"}
    ((theirs,), _) = render_jinja_template([MESSAGES], chat_template=text, **values)
    with bounded():
        assert fill(_compiled(text), {"messages": MESSAGES, "documents": None, **values}) == theirs
