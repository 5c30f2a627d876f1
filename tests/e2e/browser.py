"""Headless Chromium that reaches nothing but this machine, by WebDriver's own protocol."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import Request, urlopen

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that WebDriver gives an element's id by
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1800",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_Value = TypeVar("_Value")


class Browser:
    def __init__(self, driver: str, session: str) -> None:
        self._session = f"{driver}/session/{session}"

    def open(self, url: str) -> None:
        self._post("/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function with this body returns in the page."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def element(self, selector: str) -> str:
        return str(self._post("/element", {"using": "css selector", "value": selector})[_ELEMENT])

    def click(self, element: str) -> None:
        self._post(f"/element/{element}/click", {})

    def type(self, element: str, text: str) -> None:
        self._post(f"/element/{element}/value", {"text": text})

    def console(self) -> list[dict[str, Any]]:
        """What the page said since the last call, and what the browser said of it."""
        return list(self._post("/se/log", {"type": "browser"}))

    def requested(self) -> list[str]:
        """Every address that the page asked for since the last call."""
        events = [
            json.loads(entry["message"])["message"]
            for entry in self._post("/se/log", {"type": "performance"})
        ]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return _post(f"{self._session}{path}", body)


@contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """directory: where it may keep its profile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with (directory / "chromedriver.log").open("wb") as log:
        driver = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=log, stderr=log)
    session = None
    try:
        wait(lambda: _ready(address), 60)
        flags = [*_FLAGS, f"--user-data-dir={directory / 'profile'}"]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": CHROMIUM, "args": flags},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        session = _post(f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        yield Browser(address, session)
    finally:
        with suppress(OSError):
            if session is not None:
                urlopen(Request(f"{address}/session/{session}", method="DELETE"), timeout=30).close()
        driver.terminate()
        driver.wait()


def wait(until: Callable[[], _Value], seconds: float) -> _Value:
    """What `until` returns as soon as that is something."""
    deadline = time.monotonic() + seconds
    while not (value := until()):
        assert time.monotonic() < deadline, f"nothing within {seconds:g} s"
        time.sleep(0.1)
    return value


def _ready(address: str) -> bool:
    try:
        with urlopen(f"{address}/status", timeout=5) as answer:
            return bool(json.load(answer)["value"]["ready"])
    except (URLError, OSError):
        return False


def _post(url: str, body: dict[str, Any]) -> Any:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]
