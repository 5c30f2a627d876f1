"""The shapes of LLaMA-Factory's own demo data (its data/*.json), a few rows each."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Rows = Sequence[dict[str, Any]]
ROWS = 6
_NUMBERS = range(1, ROWS + 1)

_SYSTEM = "You answer in one word."
_WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city today",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Its name"}},
        "required": ["city"],
    },
}
_TEXT = "Plain text teaches a model the words of a field before it learns to answer questions about it."


def _said(role: str, text: str) -> dict[str, str]:
    return {"from": role, "value": text}


def _message(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def alpaca() -> Rows:
    """alpaca_en_demo.json, identity.json"""
    return [{"instruction": f"Double {n}.", "input": "", "output": f"It is {2 * n}."} for n in _NUMBERS]


def alpaca_with_history() -> Rows:
    """The alpaca shape with all its optional columns"""
    history = [["Say hello.", "hello"], ["And goodbye?", "goodbye"]]
    return [{**row, "system": _SYSTEM, "history": history if n % 2 else []} for n, row in enumerate(alpaca())]


def sharegpt() -> Rows:
    """Conversations with the default tags"""
    return [
        {
            "conversations": [
                _said("system", _SYSTEM),
                _said("human", f"Double {n}."),
                _said("gpt", f"{2 * n}"),
                _said("human", "Thanks."),
                _said("gpt", "Welcome."),
            ]
        }
        for n in _NUMBERS
    ]


def tool_calls() -> Rows:
    """glaive_toolcall_en_demo.json"""
    return [
        {
            "conversations": [
                _said("human", f"What is the weather in city {n}?"),
                _said(
                    "function_call", json.dumps({"name": "get_weather", "arguments": {"city": f"city {n}"}})
                ),
                _said("observation", json.dumps({"sky": "blue"})),
                _said("gpt", f"The sky over city {n} is blue."),
            ],
            "tools": json.dumps([_WEATHER]),
        }
        for n in _NUMBERS
    ]


def openai() -> Rows:
    """Messages of OpenAI's API"""
    return [
        {
            "messages": [
                _message("system", _SYSTEM),
                _message("user", f"Double {n}."),
                _message("assistant", f"{2 * n}"),
            ]
        }
        for n in _NUMBERS
    ]


def openai_tool_calls() -> Rows:
    """Messages of OpenAI's API that call tools, two at once"""
    calls = [
        {"id": name, "type": "function", "function": {"name": "get_weather", "arguments": {"city": name}}}
        for name in ("Rome", "Oslo")
    ]
    return [
        {
            "messages": [
                _message("user", f"Which of the two cities is warmer on day {n}?"),
                {"role": "assistant", "content": None, "tool_calls": calls},
                {"role": "tool", "tool_call_id": "Rome", "content": "30"},
                {"role": "tool", "tool_call_id": "Oslo", "content": "10"},
                _message("assistant", "Rome."),
            ],
            "tools": [{"type": "function", "function": _WEATHER}],
        }
        for n in _NUMBERS
    ]


def dpo() -> Rows:
    """dpo_en_demo.json"""
    return [
        {
            "conversations": [_said("human", f"Double {n}.")],
            "chosen": _said("gpt", f"{2 * n}"),
            "rejected": _said("gpt", f"{n}"),
        }
        for n in _NUMBERS
    ]


def dpo_text() -> Rows:
    """The alpaca shape with two answers"""
    return [
        {"instruction": f"Double {n}.", "input": "", "chosen": f"It is {2 * n}.", "rejected": f"{n}?"}
        for n in _NUMBERS
    ]


def kto() -> Rows:
    """kto_en_demo.json"""
    return [
        {
            "messages": [_message("user", f"Double {n}."), _message("assistant", f"{2 * n - n % 2}")],
            "label": n % 2 == 0,
        }
        for n in _NUMBERS
    ]


def kto_text() -> Rows:
    """The alpaca shape with judged answers"""
    return [{**row, "kto_tag": n % 2 == 0} for n, row in enumerate(alpaca())]


def images() -> Rows:
    """mllm_demo.json"""
    return [
        {
            "messages": [
                _message("user", "<image>Which colour is it?"),
                _message("assistant", "Red."),
                _message("user", "And this?<image>"),
                _message("assistant", "Blue."),
            ],
            "images": ["media/red.png", "media/blue.png"],
        }
        for _ in _NUMBERS
    ]


def videos() -> Rows:
    """mllm_video_demo.json"""
    return [
        {
            "messages": [_message("user", "<video>What changes?"), _message("assistant", "The colour.")],
            "videos": ["media/colours.mp4"],
        }
        for _ in _NUMBERS
    ]


def audios() -> Rows:
    """mllm_audio_demo.json"""
    return [
        {
            "messages": [_message("user", "<audio>What is it?"), _message("assistant", "A tone.")],
            "audios": ["media/tone.wav"],
        }
        for _ in _NUMBERS
    ]


def plain_text() -> Rows:
    """c4_demo.jsonl"""
    return [{"text": f"{n}. {_TEXT} {_TEXT}"} for n in _NUMBERS]


def text_lines() -> str:
    """wiki_demo.txt"""
    return "".join(f"{row['text']}\n" for row in plain_text())


def write_data(path: Path, rows: Rows | str) -> Path:
    """Rows as a file of the kind that its suffix says, else as a folder of two Parquet shards."""
    if not path.suffix:
        path.mkdir(parents=True)
        for number, part in enumerate((rows[:2], rows[2:])):
            write_data(path / f"train-{number:05}-of-00002.parquet", part)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(rows, str):
        path.write_text(rows, encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=2), encoding="utf-8")
    elif path.suffix == ".jsonl":
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    else:
        _write_columns(path, rows)
    return path


def _write_columns(path: Path, rows: Rows) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(list(rows))
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
