"""The answers of one or more models to one conversation, by LLaMA-Factory.

Request: `models`, LLaMA-Factory's arguments for each model in turn, `messages` and `system`. Answer: a list
with an object for each model: text, finish_reason (stop or length), prompt_tokens and completion_tokens.
"""

from __future__ import annotations

import gc
from typing import Any


def answers(request: dict[str, Any], tell: object) -> list[dict[str, Any]]:
    return [_answer(model, request["messages"], request["system"]) for model in request["models"]]


def _answer(arguments: dict[str, Any], messages: list[dict[str, str]], system: str | None) -> dict[str, Any]:
    from llamafactory.chat import ChatModel
    from llamafactory.extras.misc import torch_gc

    model = ChatModel(arguments)
    response = model.chat([dict(message) for message in messages], system)[0]
    del model  # the next one may need its memory
    gc.collect()
    torch_gc()
    return {
        "text": response.response_text,
        "finish_reason": response.finish_reason,
        "prompt_tokens": response.prompt_length,
        "completion_tokens": response.response_length,
    }


if __name__ == "__main__":
    from protocol import serve

    serve(answers)
