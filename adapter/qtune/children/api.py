"""`llamafactory-cli api` with the arguments file named, behind a guard that answers what it cannot take.

The server, its routes and its answers are LLaMA-Factory's. By itself it answers some requests with a bare
`Internal Server Error`, ends some streams in the middle of a line, and waits for ever for a stream whose
generation failed, with everybody else behind it.
The first line of stdin is the key, empty for none; at the end of stdin it ends itself.
"""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any

LARGEST_BODY = 32 << 20
"""Bytes: some pictures in base64, and far more text than any model reads."""
_DISCARDED = 8 * LARGEST_BODY

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# What Python raises for a value that is not what it should be: here, what a request brought.
_OF_A_REQUEST = (ValueError, TypeError, AttributeError, LookupError, OSError)


def main() -> None:
    from clients import drop_slow
    from protocol import end_with_stdin

    drop_slow()
    key = sys.stdin.readline().rstrip("\n")
    if key:
        os.environ["API_KEY"] = key  # of this process alone: no list of processes shows it
    end_with_stdin()
    sys.argv = ["llamafactory-cli", "api", *sys.argv[1:]]

    from llamafactory.api import app as library
    from llamafactory.cli import main as llamafactory

    make = library.create_app
    library.ChatModel = _checked(library.ChatModel)

    def create_app(chat_model: Any) -> Any:
        app = make(chat_model)
        app.add_middleware(Guard)
        return app

    library.create_app = create_app
    llamafactory()


class _Failure(str):
    """Stands in a stream for the error that ended its generation."""

    error: BaseException


def _checked(chat_model: type[Any]) -> type[Any]:
    """LLaMA-Factory's ChatModel, that looks at a request first and does not wait for what has failed."""
    from fastapi import HTTPException

    class Checked(chat_model):  # type: ignore[misc]
        def __init__(self, arguments: dict[str, Any] | None = None) -> None:
            super().__init__(arguments)
            self._context = _context(getattr(self.engine, "model", None))
            if self.engine.name == "huggingface" and self.engine.can_generate:
                self.engine.model.generate = _telling(self.engine.model.generate)

        async def achat(
            self, messages: Any, system: Any = None, tools: Any = None, *media: Any, **how: Any
        ) -> Any:
            self._check(messages, system, tools, how)
            return await super().achat(messages, system, tools, *media, **how)

        async def astream_chat(
            self, messages: Any, system: Any = None, tools: Any = None, *media: Any, **how: Any
        ) -> AsyncGenerator[str, None]:
            self._check(messages, system, tools, how)
            async for text in super().astream_chat(messages, system, tools, *media, **how):
                if isinstance(text, _Failure):
                    raise text.error
                yield text

        def _check(self, messages: Any, system: Any, tools: Any, how: dict[str, Any]) -> None:
            if how.get("repetition_penalty") == 0:
                how["repetition_penalty"] = None  # OpenAI's presence_penalty 0, which many clients send: none
            wrong = _wrong(messages, how) or self._too_long(messages, system, tools)
            if wrong:
                raise HTTPException(400, wrong)

        def _too_long(self, messages: Any, system: Any, tools: Any) -> str | None:
            if self._context is None:
                return None
            said = [*messages, {"role": "assistant", "content": ""}]
            ids, _ = self.engine.template.encode_oneturn(self.engine.tokenizer, said, system, tools)
            if len(ids) < self._context:
                return None
            return f"the conversation has {len(ids)} tokens; this model's context holds {self._context}"

    return Checked


def _context(model: Any) -> int | None:
    """How many tokens a model reads, None where its engine looks after that itself."""
    config = getattr(model, "config", None)
    found = getattr(getattr(config, "text_config", config), "max_position_embeddings", None)
    return found if isinstance(found, int) else None


def _wrong(messages: Any, how: dict[str, Any]) -> str | None:
    """What a generation could only fail on, in words for the one who sent it."""
    if any(not isinstance(message["content"], str) for message in messages):
        return "a message has no content"

    def number(name: str, fits: Callable[[float], bool], says: str) -> str | None:
        value = how.get(name)
        fine = value is None or (math.isfinite(value) and fits(value))
        return None if fine else f"{says}, not {value}"

    penalty = "LLaMA-Factory's repetition_penalty"
    return (
        number("temperature", lambda value: value >= 0, "`temperature` is 0 or more")
        or number("top_p", lambda value: 0 < value <= 1, "`top_p` is above 0 and at most 1")
        or number("max_new_tokens", lambda value: value >= 1, "`max_tokens` is 1 or more")
        or number("num_return_sequences", lambda value: value >= 1, "`n` is 1 or more")
        or number("repetition_penalty", lambda value: value > 0, f"`presence_penalty` is {penalty}, above 0")
    )


def _telling(generate: Callable[..., Any]) -> Callable[..., Any]:
    """`generate`, whose failure reaches the one who reads its stream: it runs in a thread of its own."""

    def told(*given: Any, **how: Any) -> Any:
        try:
            return generate(*given, **how)
        except Exception as error:
            streamer = how.get("streamer")
            if streamer is None:
                raise
            traceback.print_exc()
            failure = _Failure()
            failure.error = error
            streamer.text_queue.put(failure)
            streamer.text_queue.put(streamer.stop_signal)
            return None

    return told


class Guard:
    """Before the library's application: bounds what is read, and says in JSON what came of an exception.

    An answer's beginning is held back until its second part, or its end: what fails before is still
    answered with a status of its own.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)

        async def bounded() -> Message:
            message = await receive()
            answer.read += len(message.get("body", b""))
            if answer.read > LARGEST_BODY and not answer.refused:
                answer.refused = True
                # else a client misses the answer
                while message.get("more_body") and answer.read < _DISCARDED:
                    message = await receive()
                    answer.read += len(message.get("body", b""))
            if answer.refused:
                raise ValueError("too large")
            return message

        try:
            await self._app(scope, bounded, answer.pass_on)
        except Exception as error:
            if not answer.refused:
                await answer.fail(*_judged(error))
        if answer.refused:
            await answer.fail(413, f"the request is larger than {LARGEST_BODY >> 20} MB")


class _Answer:
    """What goes back to a client: its beginning is held until it is known to be no failure.

    read: bytes of the request so far; refused: whether they are too many, so that nothing else is passed on.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: list[Message] | None = []
        self.read = 0
        self.refused = False

    async def pass_on(self, message: Message) -> None:
        if self.refused:
            return
        if self._held is None:
            await self._send(message)
            return
        self._held.append(message)
        parts = [part for part in self._held if part["type"] == "http.response.body"]
        if len(parts) > 1 or (parts and not parts[0].get("more_body")):
            held, self._held = self._held, None
            for part in held:
                await self._send(part)

    async def fail(self, status: int, message: str) -> None:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body = json.dumps({"error": {"message": message, "type": kind, "code": status}}).encode()
        if self._held is not None:
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})
        else:  # a stream that had begun: OpenAI's clients raise what an event calls an error
            await self._send({"type": "http.response.body", "body": b"data: " + body + b"\n\n"})


def _judged(error: BaseException) -> tuple[int, str]:
    """The status and the words for an exception."""
    from starlette.exceptions import HTTPException

    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # a stream runs in a task group
    if isinstance(error.__cause__, HTTPException):
        error = error.__cause__  # Starlette, of one that came after a stream's beginning
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    traceback.print_exception(error)
    if isinstance(error, _OF_A_REQUEST):
        return 400, f"the model cannot take this request: {type(error).__name__}: {error}"
    return 500, f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
