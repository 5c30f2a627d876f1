"""Tool calls and tool descriptions: JSON text that the chat template parses again.

Measured with the tool format of Qwen's templates; formats that ask for more say so in the message.
Source: llamafactory/data/formatter.py, FunctionFormatter and ToolFormatter; data/tool_utils.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from qtune.data.flaws import Flaw

# What most templates put around calls and thoughts (data/template.py, register_template).
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_THOUGHT = re.compile(r"<think>\n.*?\n</think>\n\n", re.DOTALL)

_WRITE_CALL = 'write {"name": "…", "arguments": {…}}, or a list of them'
_WRITE_TOOLS = 'write a JSON list of tools: [{"name": "…", "description": "…", "parameters": {…}}]'

_CALL_NOT_JSON = Flaw("call-not-json", "crash", "a function call is not JSON", _WRITE_CALL)
_CALL_SHAPE = Flaw("call-shape", "crash", "a function call lacks `name` or `arguments`", _WRITE_CALL)
_NO_CALL = Flaw(
    "call-empty", "kept", "a function call is an empty list: trained as an empty answer", _WRITE_CALL
)
_NAME = Flaw("call-name", "kept", "the `name` of a function call is empty or not text", _WRITE_CALL)
_QUOTED = Flaw(
    "arguments-as-text",
    "kept",
    "`arguments` of a function call are text: the model learns to write them in quotes",
    'write them as an object: "arguments": {…}',
)
_ARGUMENTS = Flaw("call-arguments", "kept", "`arguments` of a function call are no object", _WRITE_CALL)

_TOOLS_NOT_TEXT = Flaw(
    "tools-not-text", "crash", "the tools are not text", "write them as JSON text, or use formatting: openai"
)
_TOOLS_NOT_JSON = Flaw("tools-not-json", "crash", "the tools are not JSON", _WRITE_TOOLS)
_TOOLS_SHAPE = Flaw("tools-shape", "crash", "the tools are not a list of objects", _WRITE_TOOLS)
_TOOL = Flaw(
    "tool-incomplete",
    "kept",
    "a tool lacks `name` or `parameters`: templates without a tool format of their own stop at it",
    _WRITE_TOOLS,
)


def call_flaws(content: str) -> list[Flaw]:
    """What is wrong with a message of the role that calls tools."""
    if found := _CALL.search(content):
        text = found.group(1)
    else:
        thought = _THOUGHT.search(content)
        text = content.replace(thought.group(0), "") if thought else content
    try:
        calls = _loads(text)
    except (ValueError, RecursionError):
        return [_CALL_NOT_JSON]
    calls = calls if isinstance(calls, list) else [calls]
    if not calls:
        return [_NO_CALL]
    flaws = []
    for call in calls:
        if not isinstance(call, dict) or "name" not in call or "arguments" not in call:
            return [_CALL_SHAPE]
        if not call["name"] or not isinstance(call["name"], str):
            flaws.append(_NAME)
        if not isinstance(call["arguments"], dict):
            flaws.append(_QUOTED if isinstance(call["arguments"], str) else _ARGUMENTS)
    return list(dict.fromkeys(flaws))


def tools_flaws(tools: Any) -> list[Flaw]:
    """What is wrong with a row's tools, as the converter leaves them."""
    if not tools:
        return []
    if not isinstance(tools, str):
        return [_TOOLS_NOT_TEXT]
    try:
        described = _loads(tools)
    except (ValueError, RecursionError):
        return [_TOOLS_NOT_JSON]
    if isinstance(described, str | dict | list) and not described:
        return []
    if not isinstance(described, list) or not all(isinstance(tool, dict) for tool in described):
        return [_TOOLS_SHAPE]
    return [] if all(map(_is_complete, described)) else [_TOOL]


def _is_complete(tool: dict[str, Any]) -> bool:
    inner = tool.get("function") if tool.get("type") == "function" else tool
    return (
        isinstance(inner, dict)
        and isinstance(inner.get("name"), str)
        and isinstance(inner.get("parameters"), dict)
    )


def _loads(text: str) -> Any:
    """json.loads, faster where both agree."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)
