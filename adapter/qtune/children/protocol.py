"""The protocol between the scripts here and qtune: requests on stdin, answers on stdout, each a line of JSON.

A request is answered with any number of {"part": VALUE} and then {"done": VALUE}, before the next one is
read; an exception ends the script, with its traceback on stderr, where all goes that libraries print.
It ends by itself after the last request, and also once nobody reads its answers any more.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

Tell = Callable[[Any], None]


def serve(answer: Callable[[Any, Tell], Any]) -> None:
    """Answer each request with what `answer` returns; its second argument tells a part, from any thread."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a library that asks its user is not given a request
    os.dup2(2, 1)

    def tell(**line: Any) -> None:
        answers.write(json.dumps(line).encode() + b"\n")
        answers.flush()

    threading.Thread(target=_end_with_reader, args=(answers,), daemon=True).start()
    for line in requests:
        tell(done=answer(json.loads(line), lambda part: tell(part=part)))


def end_with_stdin() -> None:
    """From now on the end of stdin ends the script; for servers, which speak another protocol."""
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _end_with_reader(answers: BinaryIO) -> None:
    # kept open by this thread: one that is closed before it is watched would look like one without a reader
    pipe = select.poll()
    pipe.register(answers, 0)  # that its other end closed is told anyway
    pipe.poll()
    os.kill(os.getpid(), signal.SIGTERM)
