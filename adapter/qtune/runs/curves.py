"""A run's TensorBoard curves, which go on where an attempt does, instead of beginning a second time.

Each attempt writes a file of events of its own, by default in a directory of its own, which is a curve of
its own. In one directory TensorBoard reads the files in the order of their names, which begin with the
second of their making; an event that says START takes back what was logged from its step on
(tensorboard/backend/event_processing/event_accumulator.py, _CheckForRestartAndMaybePurge). torch's writer
can write it, transformers never asks it to (torch/utils/tensorboard/writer.py, purge_step).
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

_PREFIX = "events.out.tfevents."
_POLYNOMIAL = 0x82F63B78  # CRC-32C, bits reversed
_VERSION = b"\x1a\x0dbrain.Event:2"  # field 3 of tensorboard's Event: text of 13 bytes
_START = b"\x3a\x02\x08\x01"  # field 7, a SessionLog of 2 bytes: its field 1 is 1


def logged_to(directory: Path) -> Path | None:
    """Where in the run's `directory` the attempt before has logged, None where none did."""
    newest = max(directory.glob(f"runs/*/{_PREFIX}*"), key=_made, default=None)
    return None if newest is None else newest.parent


def go_on(directory: Path, step: int) -> None:
    """Take back what was logged in the run's `directory` from `step` on.

    Nothing is done where nothing was logged, or by a clock that was set back since.
    """
    logged, now = logged_to(directory), int(time.time())
    if logged is None or now <= max(map(_made, logged.glob(f"{_PREFIX}*"))):
        return
    at = b"\x09" + struct.pack("<d", now)  # field 1, in seconds
    start = at + b"\x10" + _varint(step) + _START  # field 2
    # twice: the first of a directory takes nothing back (plugin_event_accumulator.py, of the same name)
    events = b"".join(map(_record, (at + _VERSION, start, start)))
    (logged / f"{_PREFIX}{now:010d}.qtune").write_bytes(events)


def _made(file: Path) -> int:
    second = file.name.removeprefix(_PREFIX).split(".")[0]
    return int(second) if second.isdecimal() else 0


def _varint(number: int) -> bytes:
    """7 bits a byte, the lowest first; each byte but the last has its highest bit set."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _record(event: bytes) -> bytes:
    """As TFRecord: length, its checksum, the event, its checksum."""
    length = struct.pack("<Q", len(event))
    return length + _checksum(length) + event + _checksum(event)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, turned by 15 bits and masked (tensorboard's masked_crc32c)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    turned = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (turned + 0xA282EAD8) & 0xFFFFFFFF)
