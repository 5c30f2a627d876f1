"""Stopping the nodes of a run together: one that left alone would leave the others waiting."""

from __future__ import annotations

import os
import signal
import uuid
from contextlib import suppress
from pathlib import Path

STOP = "qtune.stop"


class JointStop:
    """One node's way to tell the others to stop, and to be told: a file in the run's directory.

    All nodes see the file. It stays and is written in place, since NFS looks anew at what is opened, but not
    at what was not there. What stands in it from before is ignored.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / STOP
        self._before = self._read()
        self._done = False

    def say(self) -> None:
        """Tell the other nodes to stop; once."""
        if self._done:
            return
        self._done = True
        with suppress(OSError):  # a full disk keeps nobody from stopping
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.pwrite(descriptor, uuid.uuid4().hex.encode(), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def listen(self) -> None:
        """Where another node said so, be stopped as if by SIGTERM."""
        if not self._done and self._read() not in (b"", self._before):
            self._done = True
            signal.raise_signal(signal.SIGTERM)

    def _read(self) -> bytes:
        try:
            return self._file.read_bytes()
        except OSError:
            return b""
