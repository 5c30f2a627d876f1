"""`api`: LLaMA-Factory's server answers the real OpenAI client, and nothing that is sent to it breaks it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from scratch import QTUNE, Project, environment
from test_ask import rows

KEY = "a-key-of-this-test"
MODEL = "knows"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`qtune api` in a project, from its start until it answers."""

    def __init__(self, project: Project, *arguments: str, key: str | None, log: Path) -> None:
        self.port, self.log = free_port(), log
        kept = environment(**({} if key is None else {"API_KEY": key}))
        command = [str(QTUNE), "api", MODEL, "--port", str(self.port), "-s", "do_sample=false", *arguments]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=project.root,
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().decode().strip()  # said when it answers, and not before
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def client(self, key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=120)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def server(knowing: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(knowing, key=KEY, log=tmp_path_factory.mktemp("api") / "log.txt")
    try:
        yield started
    finally:
        started.end()


@pytest.fixture
def still_answers(server: Server, knowing: Project) -> Iterator[None]:
    yield
    row = rows(knowing)[1]
    assert said(server.client(), row["instruction"]) == row["output"]


def said(client: openai.OpenAI, prompt: str, model: str = MODEL) -> str | None:
    made = client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}])
    return made.choices[0].message.content


def test_the_openai_client_gets_the_answer_whole_and_streamed(server: Server, knowing: Project) -> None:
    row = rows(knowing)[1]
    with server.client() as client:
        assert [model.id for model in client.models.list()] == [MODEL]
        assert said(client, row["instruction"]) == row["output"]
        stream = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": row["instruction"]}], stream=True
        )
        parts = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(parts) == row["output"]
    assert len([part for part in parts if part]) > 1


def test_a_wrong_key_is_refused_and_the_key_stands_nowhere(server: Server, knowing: Project) -> None:
    with server.client("wrong") as client, pytest.raises(openai.AuthenticationError):
        said(client, "hello")
    assert KEY not in server.log.read_text()
    for process in server.family:
        assert KEY not in " ".join([*process.cmdline(), *process.environ().values()])
    written = [path for path in knowing.root.rglob("*") if path.is_file()]
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


def test_it_answers_whatever_model_a_request_names(server: Server, knowing: Project) -> None:
    row = rows(knowing)[0]
    with server.client() as client:
        assert said(client, row["instruction"], model="another") == row["output"]


def test_fifty_requests_at_once_lose_none(server: Server, knowing: Project) -> None:
    known = rows(knowing)
    prompts = [row for row in known if not row["input"]]

    def one(number: int) -> tuple[str | None, str]:
        row = prompts[number % len(prompts)]
        message = [{"role": "user", "content": row["instruction"]}]
        if number % 2:
            stream = client.chat.completions.create(model=MODEL, messages=message, stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream), row["output"]
        return said(client, row["instruction"]), row["output"]

    with server.client() as client, ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(one, range(50)))
    assert [got for got, wanted in answers if got != wanted] == []
    assert len(answers) == 50


USER = [{"role": "user", "content": "hello"}]
IMAGE: Callable[[str], list[dict[str, Any]]] = lambda url: [  # noqa: E731
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
]
# What a request holds beside the model, and the status that it gets; streamed too, where it can be.
MALFORMED = {
    "no messages": ({}, 422),
    "empty messages": ({"messages": []}, 400),
    "two users": ({"messages": USER + USER}, 400),
    "the assistant first": ({"messages": [{"role": "assistant", "content": "x"}]}, 400),
    "an unknown role": ({"messages": [{"role": "king", "content": "x"}]}, 422),
    "no content": ({"messages": [{"role": "user", "content": None}]}, 400),
    "a part without text": ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, 400),
    "a broken picture": ({"messages": IMAGE("data:image/png;base64,AAAA")}, 400),
    "a file of the server": ({"messages": IMAGE("/etc/passwd")}, 400),
    "a picture of its network": ({"messages": IMAGE("http://127.0.0.1:1/x.png")}, 400),
    "half a character": ({"messages": [{"role": "user", "content": "\ud800"}]}, 400),
    "a tool without function": ({"messages": USER, "tools": [{"type": "function"}]}, 400),
    "negative temperature": ({"messages": USER, "temperature": -1}, 400),
    "no number": ({"messages": USER, "temperature": float("nan")}, 400),
    "top_p above 1": ({"messages": USER, "top_p": 5}, 400),
    "no tokens": ({"messages": USER, "max_tokens": 0}, 400),
    "no answers": ({"messages": USER, "n": 0}, 400),
    "many in words": ({"messages": USER, "n": "many"}, 422),
    "negative penalty": ({"messages": USER, "presence_penalty": -1}, 400),
    "longer than the context": ({"messages": [{"role": "user", "content": "word " * 5000}]}, 400),
}


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        pytest.param(name, stream, id=f"{name}{', streamed' if stream else ''}")
        for name in MALFORMED
        for stream in (False, True)
        if not (stream and name == "no answers")  # the library streams one, whatever `n` below 2 says
    ],
)
@pytest.mark.usefixtures("still_answers")
def test_a_malformed_request_is_a_client_error(server: Server, name: str, stream: bool) -> None:
    holds, status = MALFORMED[name]
    body = json.dumps({"model": MODEL, "stream": stream, **holds})
    answer = posted(server, body.encode())
    assert answer.status_code == status, answer.text
    assert answer.json().get("detail") or answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{nope", b"[1]", b'{"model":"x","messages":"\xff"}'])
@pytest.mark.usefixtures("still_answers")
def test_what_is_no_request_at_all_is_a_client_error(server: Server, body: bytes) -> None:
    assert posted(server, body).status_code in (400, 422)


@pytest.mark.usefixtures("still_answers")
def test_a_request_beyond_all_bounds_is_refused_unread(server: Server) -> None:
    huge = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x" * (33 << 20)}]}).encode()
    before = psutil.Process(server.family[0].pid).memory_info().rss
    for content in (huge, iter([huge])):  # of known length, and chunked
        answer = posted(server, content)
        assert answer.status_code == 413, answer.text
        assert "larger than 32 MB" in answer.json()["error"]["message"]
    assert psutil.Process(server.family[0].pid).memory_info().rss < before + (200 << 20)


def posted(server: Server, content: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    return httpx.post(f"{server.url}/chat/completions", content=content, headers=headers, timeout=120)


@pytest.mark.usefixtures("still_answers")
def test_a_client_that_goes_away_in_the_middle_harms_nobody(server: Server) -> None:
    with server.client() as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hello"}], stream=True
        )
        next(iter(stream))
        stream.close()


def test_a_port_in_use_is_refused_with_its_holder_before_anything_is_loaded(
    server: Server, knowing: Project
) -> None:
    began = time.monotonic()
    done = knowing.qtune("api", MODEL, "--port", str(server.port), exit_code=2)
    assert time.monotonic() - began < 10
    assert f"127.0.0.1:{server.port}: is in use, by " in done.stderr
    assert f"(process {server.family[0].pid})" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_leaves_no_process_however_it_is_ended(
    knowing: Project, tmp_path: Path, number: signal.Signals
) -> None:
    server = Server(knowing, key=None, log=tmp_path / "log.txt")
    with server.client("none") as client:
        assert said(client, "hello")
    assert server.end(number) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    _gone, alive = psutil.wait_procs(server.family, timeout=60)
    assert alive == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", server.port))


def test_a_generation_that_fails_in_the_middle_of_a_stream_ends_it(knowing: Project, tmp_path: Path) -> None:
    """LLaMA-Factory by itself would wait for its next word for ever, with everybody else behind it."""
    server = Server(knowing, "-s", "num_beams=2", key=KEY, log=tmp_path / "log.txt")
    try:
        with server.client() as client:
            with pytest.raises(openai.BadRequestError, match="beam search"):
                client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": "hello"}], stream=True
                )
            assert said(client, rows(knowing)[1]["instruction"]) == rows(knowing)[1]["output"]
    finally:
        assert server.end() == 0


def test_a_server_that_cannot_load_is_a_failed_child(knowing: Project, tmp_path: Path) -> None:
    run = shutil.copytree(knowing.root / "runs" / MODEL, tmp_path / MODEL)
    (run / "tokenizer.json").write_text("{")
    done = knowing.qtune("api", str(run), "--port", str(free_port()), exit_code=1)
    assert done.stdout == ""
    assert "json.decoder.JSONDecodeError" in done.stderr
    assert "llamafactory-cli api ended by itself, as shown above" in done.stderr
