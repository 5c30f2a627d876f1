"""Of each of LLaMA-Factory's templates: Modelfiles, and the library's prompts. JSON on stdout's last line.

Called with a tokenizer's directory. An object by template's name: `modelfile` by whether ollama adds the BOS
token, `library`, the library's own (null where it fails), and `prompts`, [messages, text] each.
"""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

from llamafactory.data.template import TEMPLATES, ReasoningTemplate
from transformers import AutoTokenizer

from qtune.children.modelfile import modelfile

BOS = "<s>"
CONVERSATIONS = [
    [("user", "Hi")],
    [("user", "Hi"), ("assistant", "Hello!"), ("user", "  What's {{this}}?\n")],
    [("system", "Be brief."), ("user", "Hi")],
    [
        ("system", 'Say "yes".'),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
        ("assistant", "d"),
        ("user", "你好"),
    ],
]


def main() -> None:
    found = {}
    for name, template in TEMPLATES.items():
        found[name] = _of(template, sys.argv[1])
        if isinstance(template, ReasoningTemplate):
            template.enable_thinking = False
            found[f"{name}, enable_thinking: false"] = _of(template, sys.argv[1])
    json.dump(found, sys.stdout)


def _of(template: Any, directory: str) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.add_special_tokens({"bos_token": BOS})
    for formatter in (template.format_prefix, template.format_user, template.format_system):
        named = [slot["token"] for slot in formatter.slots if isinstance(slot, dict)]
        tokenizer.add_tokens(named, special_tokens=True)
    template.fix_special_tokens(tokenizer)
    try:
        own = template.get_ollama_modelfile(tokenizer)
    except ValueError:
        own = None
    return {
        "modelfile": {str(adds): modelfile(template, tokenizer, adds_bos=adds) for adds in (False, True)},
        "library": own,
        "stops": sorted({tokenizer.eos_token, *template.stop_words}),
        "prompts": [_prompt(template, tokenizer, conversation) for conversation in CONVERSATIONS],
    }


def _prompt(template: Any, tokenizer: Any, conversation: list[tuple[str, str]]) -> list[Any]:
    messages = [{"role": role, "content": content} for role, content in conversation]
    system = messages[0]["content"] if messages[0]["role"] == "system" else None
    turns = [message for message in messages if message["role"] != "system"]
    answer = {"role": "assistant", "content": ""}
    ids, _ = template.encode_oneturn(tokenizer, copy.deepcopy([*turns, answer]), system)
    return [messages, tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)]


if __name__ == "__main__":
    main()
