"""Rows with pictures and videos, and settings, on which token counts are compared with LLaMA-Factory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
from pictures import picture
from PIL import Image

SIZES = [(1, 1), (27, 30), (28, 28), (64, 64), (333, 777), (640, 480), (1000, 800), (1023, 769), (2000, 1500)]
SIZES += [(20, 3000), (3000, 20), (9, 4000), (5000, 1)]
ROTATED = Image.Exif()
ROTATED[0x0112] = 6  # its orientation: on its side

SETTINGS: list[dict[str, Any]] = [
    {},
    {"image_max_pixels": 50_000},
    {"image_max_pixels": 3_000_000},
    {"image_min_pixels": 200_000},
    {"video_max_pixels": 20_000, "video_fps": 1.0},
    {"video_maxlen": 5, "video_min_pixels": 40_000},
]
STAGES, CUTOFFS = ("sft", "dpo", "kto"), (70, 150, 400)
TEMPLATES = {"qwen2_vl": "qwen2_vl", "qwen3_vl": "qwen3_vl_nothink", "qwen2_vl, as Omni": "qwen2_omni"}
"""By the model: a template that it takes."""


def rows(directory: Path) -> list[dict[str, Any]]:
    """Makes the files, and rows of columns as the converters leave them."""
    named = [picture(directory / f"{width}x{height}.png", width, height) for width, height in SIZES]
    named += [picture(directory / f"a.{suffix}", 300, 200) for suffix in ("jpg", "webp", "gif", "bmp")]
    named.append(picture(directory / "rotated.jpg", 500, 90, exif=ROTATED))
    named += [picture(directory / f"{mode}.png", 300, 200, mode) for mode in ("RGBA", "L", "1")]
    paths = [str(path) for path in named]
    frames = paths[6:7] * 3
    made = [_row("<image>What is it?", images=[path]) for path in paths]
    made.append(_row("<image><image> Which?", images=[paths[4], {"bytes": named[5].read_bytes()}]))
    made.append(_row("Hi", "Hello", "And <image>?", images=[{"bytes": None, "path": paths[6]}]))
    made.append(_row("No picture."))
    made += [_row("<video>What?", videos=[frames[:count]]) for count in (1, 2, 3)]
    clips = [
        video(directory / f"{count}.{suffix}", *size, count)
        for count, size in ((1, (64, 48)), (30, (160, 120)), (301, (320, 64)))
        for suffix in ("mp4", "mkv")
    ]
    made += [_row("<video>What?", videos=[str(clip)]) for clip in clips]
    made.append(_row("<video>What? <image>", images=paths[4:5], videos=[str(clips[2])]))
    made.append(_row("<video><video>", videos=[str(clips[2]), frames]))
    made.append(_row("<video>", "A", "<video>", "B", "<video>", videos=[str(clip) for clip in clips[::2]]))
    made.append(_row("Hi", "Hello", "And <video>?", videos=[frames]))  # where Qwen3-VL's plugin crashes
    made.append(_row("<image>", videos=[frames]))
    return made


def for_stage(rows: list[dict[str, Any]], stage: str) -> list[dict[str, Any]]:
    """Some of the rows, with an answer of some length, and a second one where the stage takes two."""
    answers = [{"role": "assistant", "content": "It is. " * 40}, {"role": "assistant", "content": ""}]
    response = answers if stage in ("dpo", "kto") else answers[:1]
    return [{**row, "response": response} for row in rows[4:7] + rows[-16:]]


def _row(*texts: str, **media: list[Any]) -> dict[str, Any]:
    said = [
        {"role": ("user", "assistant")[turn % 2], "content": text}
        for turn, text in enumerate((*texts, "It is."))
    ]
    return {"prompt": said[:-1], "response": said[-1:], "images": [], "videos": [], **media}


def video(path: Path, width: int, height: int, frames: int) -> Path:
    """A film of 25 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = width, height
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", (width, height)))))
        container.mux(stream.encode())
    return path
