"""Small pictures that tests make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image


def picture(path: Path, width: int = 32, height: int = 32, mode: str = "RGB", **saving: Any) -> Path:
    """Saves a picture in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize((width, height)).convert(mode).save(path, **saving)
    return path


def cut_picture(path: Path) -> Path:
    """A picture of which the end is missing."""
    content = picture(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path
