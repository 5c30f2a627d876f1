"""A server of uvicorn waits for no client for ever, and serves the others meanwhile."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any

import pytest

from qtune.children import clients

uvicorn = pytest.importorskip("uvicorn")
SOON = 0.4
BODY = 8 << 20


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body; then answers with 8 MB at /large, and slowly at /slow."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * SOON)
    body = bytes(BODY) if scope["path"] == "/large" else b"well"
    await send({"type": "http.response.body", "body": body})


class Server:
    """The application behind uvicorn, in a thread."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self.socket.getsockname()[1])
        config = uvicorn.Config(application, lifespan="off", log_level="error", timeout_keep_alive=60)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)
        self.thread.start()

    def connect(self) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", self.port))
        return client

    def comes_to(self, most: int) -> bool:
        """Whether it has no more connections, once it is done with those that it ends."""
        for _ in range(500):
            if len(self.server.server_state.connections) <= most:
                return True
            threading.Event().wait(0.02)
        return False


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    from uvicorn.protocols.http import auto

    monkeypatch.setattr(clients, "SECONDS", SOON)
    monkeypatch.setattr(clients, "MOST", 20)
    monkeypatch.setattr(auto, "AutoHTTPProtocol", auto.AutoHTTPProtocol)  # put back in the end
    clients.drop_slow()
    started = Server()
    yield started
    started.server.should_exit = True
    started.thread.join(10)
    started.socket.close()


def ask(port: int, path: str = "/") -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
SILENT: dict[str, Callable[[socket.socket], object]] = {
    "says nothing": lambda client: None,
    "sends half a head": lambda client: client.sendall(HEAD),
    "sends half a body": lambda client: client.sendall(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"
    ),
    "takes no answer": lambda client: client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"),
}


def test_who_lets_it_wait_is_dropped_and_the_others_are_served(server: Server) -> None:
    with ExitStack() as stack:
        waiting = [stack.enter_context(server.connect()) for _ in SILENT]
        for begin, client in zip(SILENT.values(), waiting, strict=True):
            begin(client)
        assert ask(server.port) == b"well"
        assert server.comes_to(0)
        assert [how for how, client in zip(SILENT, waiting, strict=True) if not ended(client)] == []
    assert ask(server.port, "/slow") == b"well"  # who is worked for is no silent client
    assert len(ask(server.port, "/large")) == BODY


def test_the_one_that_waited_longest_makes_room(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "SECONDS", 60)
    with ExitStack() as stack:
        silent = [stack.enter_context(server.connect()) for _ in range(25)]
        with ThreadPoolExecutor(12) as pool:
            assert list(pool.map(lambda _: ask(server.port), range(60))) == [b"well"] * 60
        assert server.comes_to(20)
        assert ended(silent[0])


def ended(client: socket.socket) -> bool:
    """Whether the server ended the connection; what it had sent before that is read."""
    try:
        while client.recv(1 << 20):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True
