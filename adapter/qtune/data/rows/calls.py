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
        return [Flaw.of("call-not-json")]
    calls = calls if isinstance(calls, list) else [calls]
    if not calls:
        return [Flaw.of("call-empty")]
    flaws = []
    for call in calls:
        if not isinstance(call, dict) or "name" not in call or "arguments" not in call:
            return [Flaw.of("call-shape")]
        if not call["name"] or not isinstance(call["name"], str):
            flaws.append(Flaw.of("call-name"))
        if not isinstance(call["arguments"], dict):
            quoted = isinstance(call["arguments"], str)
            flaws.append(Flaw.of("arguments-as-text" if quoted else "call-arguments"))
    return list(dict.fromkeys(flaws))


def tools_flaws(tools: Any) -> list[Flaw]:
    """What is wrong with a row's tools, as the converter leaves them."""
    if not tools:
        return []
    if not isinstance(tools, str):
        return [Flaw.of("tools-not-text")]
    try:
        described = _loads(tools)
    except (ValueError, RecursionError):
        return [Flaw.of("tools-not-json")]
    if isinstance(described, str | dict | list) and not described:
        return []
    if not isinstance(described, list) or not all(isinstance(tool, dict) for tool in described):
        return [Flaw.of("tools-shape")]
    return [] if all(map(_is_complete, described)) else [Flaw.of("tool-incomplete")]


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
