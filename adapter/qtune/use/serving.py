"""A server over a trained model: where it listens, whether somebody answers, and its life."""

from __future__ import annotations

import http.client
import ipaddress
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from qtune.config.project import Project
from qtune.errors import ChildFailed, QtuneError
from qtune.processes import process
from qtune.processes.child import script
from qtune.use.infer import infer_file
from qtune.values import Config

_SECONDS = 2.0


def run(
    name: str,
    config: Config,
    project: Project,
    title: str,
    variables: Mapping[str, str],
    is_up: Callable[[], bool],
    ready: Callable[[], None],
    show: Callable[[bytes], None],
    *,
    given: bytes = b"",
) -> bool:
    """Run LLaMA-Factory's server `name` until qtune is told to end; whether it ever answered.

    variables: its environment, all of it; ready: called once, when it first answers; show: with its output.
    Raises QtuneError where LLaMA-Factory is not installed, ChildFailed where it ends by itself.
    """
    told = False

    def look() -> None:
        nonlocal told
        if not told and is_up():
            told = True
            ready()

    command = script(f"{name}.py")
    with infer_file(config, project, title) as file:
        outcome = process.converse(
            [*command, file], variables, given, show, show, directory=project.root, watch=look
        )
    if outcome.interrupted is None:
        code = outcome.exit_code
        raise ChildFailed(f"llamafactory-cli {name} ended by itself, as shown above (exit code {code})")
    return told


def is_local(host: str) -> bool:
    """Whether only this machine reaches what listens at `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_free_port(host: str, port: int) -> None:
    """Raises QtuneError where nothing could listen there, with who holds the port as far as that is shown."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # as uvicorn and asyncio bind: what closed a moment ago is no obstacle
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except socket.gaierror:
        raise QtuneError("is no address of this machine", where=f"--host {host}", fix="127.0.0.1") from None
    except PermissionError:
        fix = "take one from 1024 on"
        raise QtuneError("may not be listened on by you", where=f"--port {port}", fix=fix) from None
    except OSError as error:
        holder = _holder(port)
        what = f"is in use, by {holder}" if holder else f"cannot be listened on: {error.strerror}"
        raise QtuneError(what, where=f"{host}:{port}", fix="end that, or take another --port") from None


def reachable(host: str) -> str:
    """`host` as a client on this machine writes it in a URL."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            return "127.0.0.1" if address.version == 4 else "[::1]"
        return f"[{host}]" if address.version == 6 else host
    return host


def answers(host: str, port: int, path: str, headers: dict[str, str]) -> bool:
    """Whether what listens there serves `path`."""
    connection = http.client.HTTPConnection(reachable(host).strip("[]"), port, timeout=_SECONDS)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _holder(port: int) -> str | None:
    """Who listens on the port, None where nobody may be seen to."""
    import psutil

    try:
        listening = [
            found
            for found in psutil.net_connections(kind="tcp")
            if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr.port == port
        ]
    except psutil.Error:
        return None
    for found in listening:
        if found.pid is None:
            continue
        with suppress(psutil.Error):
            return f"{psutil.Process(found.pid).name()} (process {found.pid})"
    return "a process that is not yours" if listening else None
