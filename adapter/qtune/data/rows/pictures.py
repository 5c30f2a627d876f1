"""Pictures that rows name or hold: their size, and whether they can be read, by the library that trains too.

Pillow is imported only once there is a picture to look at.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from PIL.Image import Image

_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "WEBP": b""}
"""What a whole file of that format ends with; of WebP, Pillow opens whole ones alone."""
_LONGEST_END = max(map(len, _ENDS.values()))


def can_look() -> bool:
    """Whether Pillow is installed."""
    return find_spec("PIL") is not None


def located(path: str, directory: Path | None) -> str | None:
    """A media file in `media_dir`, or else from where the training is started; None where it is in neither.

    Source: llamafactory/data/converter.py, _find_medias.
    """
    # os.path: there may be millions, and a Path takes several times as long
    places = (path,) if directory is None else (os.path.join(directory, path), path)  # noqa: PTH118
    return next((place for place in places if os.path.isfile(place)), None)  # noqa: PTH113


def unwrapped(entry: Any) -> Any:
    """The content or else the path of a picture that is kept as `datasets` does; other entries as they are.

    Source: llamafactory/data/mm_plugin.py, MMPluginMixin._regularize_images.
    """
    if not isinstance(entry, dict):
        return entry
    content = entry.get("bytes")
    return entry.get("path") if content is None else content


def size(picture: str | bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header; picture: a file's path, or a content.

    Raises OSError for one that Pillow cannot open.
    """
    try:
        with _opened(picture) as (image, _):
            return image.size
    except Exception as error:  # Pillow's formats raise what they like
        raise OSError("is no picture") from error


def is_readable(picture: str | bytes) -> bool:
    """Whether Pillow can read all of the picture; it is decoded only where its end does not show that."""
    try:
        with _opened(picture) as (image, file):
            end = _ENDS.get(image.format or "")
            file.seek(-_LONGEST_END, os.SEEK_END)
            if end is None or not file.read().endswith(end):
                image.load()
    except Exception:  # as above
        return False
    return True


@contextmanager
def _opened(picture: str | bytes) -> Iterator[tuple[Image, BinaryIO]]:
    from PIL import Image

    with (
        BytesIO(picture) if isinstance(picture, bytes) else Path(picture).open("rb") as file,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of very large pictures and odd tags, which are read all the same
        with Image.open(file) as image:
            yield image, file
