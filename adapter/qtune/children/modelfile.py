"""The Modelfile by which ollama takes over an exported model.

Request: LLaMA-Factory's arguments for the exported model, `directory`, where it lies, and `weights`, their
path from there. Answer: the file's text. LLaMA-Factory's export writes a Modelfile too, which is right for
most templates and wrong for some: a system prompt stands before the first user turn where the training had
it inside (Llama 2, Mistral, Gemma), the empty thoughts of `enable_thinking: false` are missing, a leading
BOS token is doubled, and templates that name tokens (ChatGLM3, Yuan) end the export with an error. How
ollama reads the file: its parser/parser.go, template/template.go and convert/tokenizer.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CONTENT = "{{content}}"
_QUOTES = '"""'
# ollama's variables: the system prompt until it was shown, and whether anything was shown yet.
_SYSTEM, _STARTED = "$system", "$started"


def answer(request: dict[str, Any], tell: object) -> str:
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_infer_args
    from llamafactory.model import load_tokenizer

    model, data, _, _ = get_infer_args(request["arguments"])
    tokenizer = load_tokenizer(model)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data)
    config = json.loads(Path(request["directory"], "tokenizer_config.json").read_text(encoding="utf-8"))
    adds_bos = bool(config.get("add_bos_token"))
    return modelfile(
        template, tokenizer, adds_bos=adds_bos, weights=request["weights"], about=request["about"]
    )


def modelfile(
    template: Any, tokenizer: Any, *, adds_bos: bool, weights: str = ".", about: str = "for ollama"
) -> str:
    """template: LLaMA-Factory's; adds_bos: whether ollama puts the BOS token before each prompt itself."""
    lines = [f"# {about}", f"FROM {weights}", ""]
    lines += [f"TEMPLATE {_QUOTES}{template_text(template, tokenizer, adds_bos=adds_bos)}{_QUOTES}", ""]
    if template.default_system and _QUOTES not in template.default_system:
        lines += [f"SYSTEM {_QUOTES}{template.default_system}{_QUOTES}", ""]
    elif template.default_system:
        lines += [f"# The default system prompt holds {_QUOTES}, which no Modelfile can say.", ""]
    stops = dict.fromkeys(word for word in (tokenizer.eos_token, *template.stop_words) if word)
    lines += [f"PARAMETER stop {_QUOTES}{word}{_QUOTES}" for word in stops]
    # LLaMA-Factory's own choice
    return "\n".join([*lines, "PARAMETER num_ctx 4096"]) + "\n"


def template_text(template: Any, tokenizer: Any, *, adds_bos: bool) -> str:
    """The Go template whose text for a conversation is LLaMA-Factory's prompt for it.

    Source: llamafactory/data/template.py, Template._encode, Llama2Template._encode and
    ReasoningTemplate.encode_oneturn. Tools are left out: ollama reads them otherwise.
    """
    from llamafactory.data.template import Llama2Template, ReasoningTemplate

    bos = tokenizer.bos_token if adds_bos else None
    prefix = _go(template.format_prefix.slots, tokenizer, _escape(_CONTENT))
    system = template.format_system.slots
    user, assistant = template.format_user.slots, template.format_assistant.slots
    if bos and prefix.startswith(bos):
        prefix, bos = prefix.removeprefix(bos), None
    elif prefix:
        bos = None  # it stands inside, so it is no first token
    if isinstance(template, Llama2Template):  # inside the first user turn, and of that only the first slot
        shown = _go(system[:1], tokenizer, f"{{{{ {_SYSTEM} }}}}")
        content = f'{{{{ if {_SYSTEM} }}}}{shown}{{{{ {_SYSTEM} = "" }}}}{{{{ end }}}}{{{{ .Content }}}}'
        before = f"{{{{ {_SYSTEM} := .System }}}}{prefix}"
        asked = _go(user, tokenizer, content, bos)
    else:
        shown = _go(system, tokenizer, "{{ .System }}", bos)
        before = f"{prefix}{{{{ if .System }}}}{shown}{{{{ end }}}}"
        asked = _go(user, tokenizer, "{{ .Content }}", bos)
    if bos:
        before = f'{{{{ {_STARTED} := "" }}}}{before}'
    loop = "{{ range .Messages }}"
    if isinstance(template, ReasoningTemplate) and not template.enable_thinking:
        loop = "{{ range $index, $message := .Messages }}"
        last = "{{ if eq (len (slice $.Messages $index)) 1 }}"
        asked += f"{last}{_escape(template.add_thought())}{{{{ end }}}}"
    answered = _go(assistant, tokenizer, "{{ .Content }}")
    return (
        f'{before}{loop}{{{{ if eq .Role "user" }}}}{asked}'
        f'{{{{ else if eq .Role "assistant" }}}}{answered}{{{{ end }}}}{{{{ end }}}}'
    )


def _go(slots: list[Any], tokenizer: Any, content: str, bos: str | None = None) -> str:
    """Slots as a part of the template, with the template text `content` for {{content}}.

    bos: the token that ollama has put before everything, so that it is left out where it comes first.
    """
    pieces = [content if piece == _CONTENT else _escape(piece) for piece in _pieces(slots, tokenizer)]
    if not bos:
        return "".join(pieces)
    if pieces and pieces[0].startswith(bos):
        pieces[0] = f"{{{{ if {_STARTED} }}}}{bos}{{{{ end }}}}{pieces[0].removeprefix(bos)}"
    return f'{"".join(pieces)}{{{{ {_STARTED} = "yes" }}}}'


def _pieces(slots: list[Any], tokenizer: Any) -> Iterator[str]:
    """The texts of the slots in order, {{content}} standing alone."""
    for slot in slots:
        if isinstance(slot, str):
            before, found, after = slot.partition(_CONTENT)
            yield from (piece for piece in (before, found, after) if piece)
        elif isinstance(slot, dict):
            yield slot["token"]
        elif "bos_token" in slot and tokenizer.bos_token:
            yield tokenizer.bos_token
        elif "eos_token" in slot and tokenizer.eos_token:
            yield tokenizer.eos_token


def _escape(text: str) -> str:
    """Text that a Go template shows as it is."""
    return text.replace("{{", '{{ "{{" }}')


if __name__ == "__main__":
    from protocol import serve

    serve(answer)
