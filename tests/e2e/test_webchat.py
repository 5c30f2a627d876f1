"""`qtune webchat` in a real browser: type, get an answer; nothing is asked of any other machine."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import gradio_client
import psutil
import pytest
from browser import CHROMIUM, DRIVER, browser, wait
from conftest import CHECKOUT
from scratch import Project

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium and chromedriver here (Debian: chromium chromium-driver)"
)
PROMPT = "Which SQL gives the ten newest orders?"
# the chat box's own controls: no label, and no id that means anything
QUERY, SUBMIT, ANSWERS = "textarea[rows='8']", "button.primary", ".message.bot"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("trained")
    shutil.copy(CHECKOUT / "qtune.yaml", root)
    shutil.copytree(CHECKOUT / "data", root / "data")
    settings = ("max_samples=8", "num_train_epochs=1", "eval_dataset=null", "val_size=null")
    project = Project(root)
    project.qtune("train", "lora", "-n", "first", *(f"-s{value}" for value in settings))
    return project


@contextmanager
def webchat(project: Project, port: int, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """The page, from when it answers until a Ctrl-C."""
    started = project.start("webchat", "--port", str(port), *more)
    try:
        wait(lambda: f"http://127.0.0.1:{port}\n" in project.output.read_text() or started.poll(), 240)
        assert started.poll() is None, project.output.read_text()
        yield started
        descendants = psutil.Process(started.pid).children(recursive=True)
        started.send_signal(signal.SIGINT)
        assert started.wait(30) == 0
        assert descendants and not [process for process in descendants if process.is_running()]
    finally:
        started.kill()
        started.wait()


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@needs_browser
def test_a_browser_without_a_network_gets_an_answer(trained: Project, tmp_path: Path, port: int) -> None:
    generation = ("-s", "do_sample=false", "-s", "max_new_tokens=24", "-s", "temperature=0.31")
    asked = trained.qtune("ask", "first", PROMPT, *generation).stdout.split()
    before = {*trained.root.rglob("*")}
    with webchat(trained, port, *generation), browser(tmp_path) as page:
        page.open(f"http://127.0.0.1:{port}")
        labelled = "return [...document.querySelectorAll('label, button')].map(x => x.innerText).join()"
        wait(lambda: "Maximum new tokens" in page.run(labelled), 60)
        numbers = page.run("return [...document.querySelectorAll('input[type=number]')].map(x => x.value)")
        assert {"24", "0.31"} <= {*numbers}
        page.type(page.element(QUERY), PROMPT)
        page.click(page.element(SUBMIT))
        last = "return [...document.querySelectorAll(arguments[0])].at(-1)?.innerText ?? ''"
        wait(lambda: page.run(last, ANSWERS).split() == asked, 120)
        assert [entry for entry in page.console() if entry["level"] == "SEVERE"] == []
        here = (f"http://127.0.0.1:{port}/", "data:", "blob:", "chrome:", "chrome-untrusted:")
        assert [url for url in page.requested() if not url.startswith(here)] == []
    assert {*trained.root.rglob("*")} - before == {trained.output}


@pytest.mark.slow
def test_sixty_clients_at_once_are_served_beside_silent_and_slow_ones(trained: Project, port: int) -> None:
    generation = ("-s", "do_sample=false", "-s", "max_new_tokens=8")
    with webchat(trained, port, *generation) as started, ExitStack() as stack:
        server = psutil.Process(started.pid).children(recursive=True)[-1]
        waiting = []
        join = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for said in (b"", b"GET / HTTP/1.1\r\n", join + b"Content-Length: 99\r\n\r\n{"):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=90))
            client.sendall(said)
            waiting.append(client)
        ask(port)
        before = server.memory_info().rss
        with ThreadPoolExecutor(60) as pool:
            answers = list(pool.map(lambda _: ask(port), range(60)))
        assert len(answers) == 60 and all(answers)
        assert server.num_threads() < 200 and server.memory_info().rss - before < 500e6
        assert all(map(is_dropped, waiting))


def ask(port: int) -> str:
    """What the page answers to a browser of its own."""
    page = gradio_client.Client(f"http://127.0.0.1:{port}", verbose=False)
    said, _ = page.predict([], "user", PROMPT, True, api_name="/append")
    settings = ("en", "", "", None, None, None, 8, 0.7, 0.95, True, True, True)
    return str(page.predict(said, *settings, api_name="/stream")[-1]["content"])


def is_dropped(client: socket.socket) -> bool:
    """Whether the server ends the connection without a word."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_port_in_use_is_refused_before_anything_loads(trained: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = trained.qtune("webchat", "--port", port, exit_code=2).stderr
    assert f"127.0.0.1:{port}" in said
    assert "loading" not in said


def test_what_is_not_finished_is_refused(project: Project) -> None:
    assert "there is no run yet" in project.qtune("webchat", exit_code=2).stderr
