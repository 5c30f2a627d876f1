"""Where a server listens: may it, is the port free, does somebody answer."""

from __future__ import annotations

import http.client
import ipaddress
import socket
from contextlib import suppress

from qtune.errors import QtuneError

_SECONDS = 2.0


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
        what = f"cannot be listened on: {error.strerror}"
        holder = _holder(port)
        if holder is not None:
            what = f"is in use, by {holder}"
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
