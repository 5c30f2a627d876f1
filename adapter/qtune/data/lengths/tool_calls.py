"""Tools in a conversation: their descriptions and the calls, as a chat template writes them.

Exact for Qwen's formats, the most used ones. The others write the same JSON in a layout of their own, so
that theirs is a text of about the same length. Source: llamafactory/data/tool_utils.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

from qtune.files import from_json
from qtune.schema.chat_templates import ChatTemplate, tool_prompts

EXACT_FORMATS = ("qwen", "ling")


def describe(tools: str, tool_format: str) -> str:
    """The text that tools, a JSON list, add to the system prompt.

    Raises ValueError, KeyError or TypeError where the library would.
    """
    described = from_json(tools)
    if not described:
        return ""
    lines = "".join(f"\n{json.dumps(_wrapped(tool), ensure_ascii=False)}" for tool in described)
    names = ", ".join(str(_wrapped(tool)["function"].get("name")) for tool in described)
    prompt = tool_prompts().get(tool_format, "{tool_text}")
    text = prompt.format(tool_text=lines, tool_names=names, date="01 Jan 2025")
    return f"{text}\ndetailed thinking off" if tool_format == "ling" else text


def call(content: str, template: ChatTemplate) -> str:
    """A message that calls tools, in the template's format; thoughts around the calls stay as they are.

    Raises ValueError, KeyError or TypeError where the library would.
    Source: llamafactory/data/formatter.py, FunctionFormatter.
    """
    before, calls = "", content
    knows_words = template.kind != "Llama2Template"  # which does not hand them to its formatter
    if knows_words and (found := _between(template.tool_call_words, content)):
        before, calls = content.replace(found.group(0), ""), found.group(1)
    elif knows_words and (found := _between(template.thought_words, content)):
        before, calls = found.group(0), content.replace(found.group(0), "")
    functions = from_json(calls)
    functions = functions if isinstance(functions, list) else [functions]
    if template.function_format == "glm4" and len(functions) > 1:
        raise ValueError("GLM-4 does not call several tools at once")
    written = [
        json.dumps({"name": function["name"], "arguments": function["arguments"]}, ensure_ascii=False)
        for function in functions
    ]
    return before + "\n".join(f"<tool_call>\n{text}\n</tool_call>" for text in written)


def _wrapped(tool: dict[str, Any]) -> dict[str, Any]:
    return tool if tool.get("type") == "function" else {"type": "function", "function": tool}


def _between(words: tuple[str, str], content: str) -> re.Match[str] | None:
    opening, closing = map(re.escape, words)
    return re.search(f"{opening}(.*?){closing}", content, re.DOTALL)
