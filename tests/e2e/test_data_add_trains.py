"""LLaMA-Factory's real shapes of data are registered with no flags, and train."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import data_shapes as shapes
import pytest
from scratch import Project, RunDirectory
from trees import write_tree

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
VISION_MODEL = "tiny-qwen2-vl"
COLOURS = ("red", "blue", "green", "white")


@dataclass(frozen=True)
class Shape:
    """Data as somebody has it: the preset that trains on it, its file, its rows, and what the model sees."""

    preset: str
    file: str
    rows: Callable[[], Any]
    seen: str
    train: Mapping[str, Any] = field(default_factory=dict)


VISION = {"model_name_or_path": VISION_MODEL, "template": "qwen2_vl"}
BLOCKS = {"cutoff_len": 32}  # plain text is cut into blocks, and there is little of it
DOUBLE = "<|im_start|>user\nDouble 1.<|im_end|>\n<|im_start|>assistant\n"
TOOL_CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "city 1"}}\n</tool_call>'
RESULTS = "<tool_response>\n30\n</tool_response>\n<tool_response>\n10\n</tool_response>"

SHAPES = {
    "alpaca": Shape("lora", "alpaca.json", shapes.alpaca, DOUBLE),
    "history": Shape(
        "lora", "history.jsonl", shapes.alpaca_with_history, "You answer in one word.<|im_end|>"
    ),
    "table": Shape("lora", "table.csv", shapes.alpaca, DOUBLE),
    "sharegpt": Shape("lora", "sharegpt.json", shapes.sharegpt, f"{DOUBLE}2<|im_end|>"),
    "tools": Shape("lora", "tools.json", shapes.tool_calls, TOOL_CALL),
    "openai": Shape("lora", "openai.parquet", shapes.openai, f"You answer in one word.<|im_end|>\n{DOUBLE}"),
    "calls": Shape("lora", "calls.jsonl", shapes.openai_tool_calls, RESULTS),
    # the library takes a folder's files in any order
    "shards": Shape("lora", "shards", shapes.openai, "in one word.<|im_end|>\n<|im_start|>user\nDouble "),
    "dpo": Shape("dpo", "dpo.json", shapes.dpo, DOUBLE),
    "dpo_text": Shape("dpo", "dpo_text.jsonl", shapes.dpo_text, DOUBLE),
    "kto": Shape("kto", "kto.json", shapes.kto, DOUBLE),
    "kto_text": Shape("kto", "kto_text.arrow", shapes.kto_text, DOUBLE),
    "plain": Shape("pretrain", "plain.jsonl", shapes.plain_text, "1. Plain text teaches", BLOCKS),
    "lines": Shape("pretrain", "lines.txt", shapes.text_lines, "1. Plain text teaches", BLOCKS),
    "images": Shape("lora", "images.json", shapes.images, "<|vision_start|><|image_pad|>", VISION),
    "videos": Shape("lora", "videos.json", shapes.videos, "<|vision_start|><|video_pad|>", VISION),
}


def make_media(directory: Path) -> None:
    """A picture in each colour, and a video of all of them."""
    import av
    from PIL import Image

    directory.mkdir()
    pictures = [Image.new("RGB", (56, 56), colour) for colour in COLOURS]
    for colour, picture in zip(COLOURS, pictures, strict=True):
        picture.save(directory / f"{colour}.png")
    with av.open(str(directory / "colours.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 56, 56, "yuv420p"
        for picture in pictures:
            video.mux(stream.encode(av.VideoFrame.from_image(picture)))
        video.mux(stream.encode())


def check(run: RunDirectory, shape: Shape) -> None:
    """It took one step, on rows that it read as they are meant."""
    text = run.log
    assert run.state["global_step"] == 1
    assert len(run.losses) == 1 and math.isfinite(run.losses[0]) and run.losses[0] != 0
    assert shape.seen in text
    assert "Dropped invalid example" not in text and "Skipping this abnormal example" not in text


@pytest.mark.parametrize("name", ["alpaca", "tools"])
def test_a_file_is_added_and_trains_by_its_name(project: Project, name: str) -> None:
    shape = SHAPES[name]
    shapes.write_data(project.root / shape.file, shape.rows())
    project.qtune("data", "add", shape.file)
    settings = ("-s", "max_steps=1", "-s", "logging_steps=1", "-s", "eval_dataset=null")
    project.qtune("train", shape.preset, "-d", name, "--name", name, *settings)
    check(project.run(name), shape)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which every shape was added and trained one step."""
    root = tmp_path_factory.mktemp("shapes") / "project"
    write_tree(root, {"qtune.yaml": "presets: [presets]\n", "presets/.keep": ""})
    shutil.copytree(CHECKOUT / "data", root / "data")
    make_media(root / "data" / "media")
    project = Project(root)
    make_model = str(HERE / "make_tiny_qwen2_vl.py")
    project.command(sys.executable, make_model, "data/tiny-qwen2", VISION_MODEL)
    for name, shape in SHAPES.items():
        shapes.write_data(root / "incoming" / shape.file, shape.rows())
        project.qtune("data", "add", f"incoming/{shape.file}")
        model = {"model_name_or_path": "data/tiny-qwen2", "dataset": name}
        train = {**model, "max_steps": 1, "logging_steps": 1, **shape.train}
        write_tree(root, {f"presets/{name}.yaml": {"extends": f"qtune/{shape.preset}", "train": train}})
        project.qtune("render", name, "--hardware", "cpu")
    done = project.command(sys.executable, str(HERE / "train_rendered.py"), *SHAPES)
    failed = [name for name, code in json.loads(done.stdout).items() if code]
    assert failed == [], project.run(failed[0]).log[-4000:]
    return project


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_trains_without_a_word_about_it(trained: Project, name: str) -> None:
    check(trained.run(name), SHAPES[name])
