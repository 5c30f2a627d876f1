"""Pictures and videos: how many tokens they make, which of them cannot be read, and what is said of it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from pictures import cut_picture, picture
from tokenizers import AddedToken, Tokenizer
from trees import TINY_MODEL, Result

from qtune.config.project import find_project
from qtune.data.lengths.cutoff import cut_answers
from qtune.data.lengths.patches import PatchGrid
from qtune.data.lengths.statistics import Statistics, measure
from qtune.data.registrations import Registration, read_registrations
from qtune.data.rows import pictures
from qtune.data.rows.check import RowCheck

Make = Callable[..., Path]
Run = Callable[..., Result]

WORDS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
QWEN2_5 = {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 3136, "max_pixels": 12845056}
QWEN3 = {
    "image_processor_type": "Qwen2VLImageProcessorFast",
    "size": {"shortest_edge": 65536, "longest_edge": 16777216},
    "patch_size": 16,
}
QWEN3_VIDEOS = {
    "video_processor_type": "Qwen3VLVideoProcessor",
    "size": {"shortest_edge": 4096, "longest_edge": 25165824},
}
REGISTRATION = "rows: {file_name: rows.jsonl, columns: {prompt: q, response: a, images: images}}\n"
VIDEOS = REGISTRATION.replace("images", "videos")


def row(question: str = "<image>?", *images: Any, **more: Any) -> dict[str, Any]:
    return {"q": question, "a": "A.", "images": [*images]} | more


@pytest.fixture(scope="session")
def vision_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with the tokens of Qwen-VL, and no settings of a processor."""
    directory = shutil.copytree(TINY_MODEL, tmp_path_factory.mktemp("models") / "vl")
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(word, normalized=False) for word in WORDS])
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


@pytest.fixture
def seeing(project: Make, vision_model: Path) -> Make:
    """Makes a project whose model sees: `seeing(rows, **files)`; its pictures are below media/."""

    def make(rows: list[dict[str, Any]], template: str = "qwen2_vl", **files: Any) -> Path:
        train = {"model_name_or_path": "model", "template": template, "dataset": "rows", "media_dir": "media"}
        root = project(
            {
                "qtune.yaml": json.dumps({"train": train}),
                "data/datasets.yaml": REGISTRATION,
                "data/rows.jsonl": rows,
                "model/preprocessor_config.json": QWEN2_5,
                **files,
            }
        )
        for file in vision_model.iterdir():
            shutil.copy(file, root / "model")
        picture(root / "media" / "a.png", 640, 480)
        picture(root / "media" / "b.jpg", 100, 300)
        return root

    return make


def measured(root: Path, **train: Any) -> Statistics:
    registration = read_registrations(find_project(root))["rows"]
    return measure(registration, {**config(root), **train}, root)


def config(root: Path) -> dict[str, Any]:
    train: dict[str, Any] = json.loads((root / "qtune.yaml").read_text(encoding="utf-8"))["train"]
    return train


# tokens


@pytest.mark.parametrize(
    ("size", "given_most", "tokens"),
    [
        ((640, 480), 589_824, 23 * 17),
        ((480, 640), 589_824, 23 * 17),
        ((640, 480), 78_400, 12 * 9),  # LLaMA-Factory scales to 323x242 first
        ((4000, 3000), 589_824, 32 * 24),
        ((4000, 3000), 100_000_000, 143 * 107),
        ((8000, 6000), 100_000_000, 147 * 110),  # the processor's own bound
        ((10, 10), 589_824, 2 * 2),
        ((1, 5000), 589_824, 179),
    ],
)
def test_a_picture_counts_as_what_the_processor_makes_of_it(
    size: tuple[int, int], given_most: int, tokens: int
) -> None:
    assert PatchGrid(1024, given_most, 3136, 12_845_056, 14, 2, 2).tokens(*size) == tokens


def test_rows_are_as_long_as_the_model_sees_them(seeing: Make) -> None:
    root = seeing([row("?"), row("<image>?", "a.png"), row("<image><image>?", "a.png", "b.jpg")])
    found = measured(root)
    assert (found.uncounted, found.estimated, found.left_out) == (None, 0, 0)
    text, one, two = sorted(found.lengths)
    assert (one - text, two - text) == (23 * 17 + 2, 23 * 17 + 2 + 4 * 11 + 2)
    assert found.recommended_cutoff_len == 512
    assert max(measured(root, image_max_pixels=78_400).lengths) == text + 12 * 9 + 2 + 4 * 11 + 2


def test_the_recommended_cutoff_len_cuts_no_picture(seeing: Make) -> None:
    found = measured(seeing([row("?")] * 199 + [row("<image>?", "a.png")]))
    assert found.recommended_cutoff_len == 448
    assert found.share_cut(448) == 0


def test_other_models_have_other_patches_and_time_their_videos(seeing: Make) -> None:
    files = {
        "model/preprocessor_config.json": QWEN3,
        "model/video_preprocessor_config.json": QWEN3_VIDEOS,
        "data/datasets.yaml": VIDEOS,
    }
    rows = [row("?", videos=[]), row("<video>?", videos=[["b.jpg", "b.jpg", "b.jpg"]])]
    text, video = sorted(measured(seeing(rows, "qwen3_vl_nothink", **files)).lengths)
    grid = PatchGrid(256, 65_536, 4096, 25_165_824, 16, 2, 2)
    assert grid.tokens(100, 300, 4) == 3 * 9
    words = 2 * len("<0.2 seconds>")  # the tiny model knows few words
    assert 2 * (27 + 2) + 6 < video - text <= 2 * (27 + 2) + words


def test_a_picture_may_stand_in_the_data_itself(seeing: Make) -> None:
    root = seeing([row("?"), row("<image>?", "a.png")])
    lengths = measured(root).lengths
    content = (root / "media" / "a.png").read_bytes()
    (root / "data" / "rows.jsonl").unlink()
    for images in ([{"bytes": content, "path": None}], [content]):
        columns = {"q": ["?", "<image>?"], "a": ["A.", "A."], "images": [[], images]}
        parquet.write_table(pa.table(columns), root / "data" / "rows.parquet")
        (root / "data" / "datasets.yaml").write_text(REGISTRATION.replace("jsonl", "parquet"), "utf-8")
        assert measured(root).lengths == lengths


def test_a_row_that_the_library_stops_at_is_counted_apart(seeing: Make) -> None:
    root = seeing([row("?"), row("<image>", "none.png"), row("<image>"), row("<image>", "cut.txt")])
    (root / "media" / "cut.txt").write_text("no picture", encoding="utf-8")
    assert (measured(root).rows, measured(root).left_out) == (1, 3)


@pytest.mark.parametrize(
    ("template", "files", "reason"),
    [
        ("qwen", {}, "template qwen takes no images, videos or audios"),
        ("llava", {}, "the media of template llava are not counted"),
        ("qwen2_vl", {"model/preprocessor_config.json": {}}, "settings of the model's processor are not on"),
        ("qwen2_vl", {"model/preprocessor_config.json": {**QWEN2_5, "patch_size": "14"}}, "are damaged"),
        (
            "qwen2_vl",
            {"model/preprocessor_config.json": {"image_processor_type": "KeyeImageProcessor"}},
            "the images of the model's KeyeImageProcessor are not counted",
        ),
        (
            "qwen2_omni",
            {"data/datasets.yaml": REGISTRATION.replace("images: images", "images: images, audios: b")},
            "the tokens of audios are not counted",
        ),
    ],
)
def test_no_advice_is_given_without_all_tokens(
    seeing: Make, qtune: Run, template: str, files: dict[str, Any], reason: str
) -> None:
    root = seeing([row("<image>?", "a.png")] * 20 + [row("?")] * 20, template, **files)
    result = qtune("data", "stats", "rows", "--html", "page.html", "--hardware", "cpu", directory=root)
    assert result.code == 0
    assert "without images, videos and audios" in result.out
    [line] = [line for line in result.out.splitlines() if line.startswith("cutoff_len")]
    assert "no advice on it, nor on packing: " in line and reason in line
    assert (
        "packing=" not in result.out and "-s cutoff_len" not in result.out and "longer than" not in result.out
    )
    assert "steps  " in result.out
    assert reason.replace("'", "&#39;") in (root / "page.html").read_text(encoding="utf-8")
    plain = json.loads(qtune("data", "stats", "rows", "--json", "--hardware", "cpu", directory=root).out)
    assert plain["recommended_cutoff_len"] is None and not plain["recommends_packing"]
    assert reason in plain["uncounted"]


def test_a_model_that_is_not_here_gives_no_advice(seeing: Make, qtune: Run) -> None:
    root = seeing([row("<image>?", "a.png")])
    result = qtune("data", "stats", "rows", "-m", "Qwen/Qwen2.5-VL-7B-Instruct", directory=root)
    assert "no advice on it, nor on packing: the model's tokenizer is not on this machine" in result.out


# pictures that cannot be read


@pytest.mark.parametrize(
    ("name", "saving"),
    [
        ("a.png", {}),
        ("a.jpg", {}),
        ("a.jpg", {"progressive": True}),
        ("a.webp", {}),
        ("a.gif", {}),
        ("a.bmp", {}),
        ("a.tiff", {}),
    ],
)
def test_a_picture_that_was_cut_off_is_told_from_a_whole_one(
    tmp_path: Path, name: str, saving: dict[str, Any]
) -> None:
    path = picture(tmp_path / name, 300, 200, **saving)
    content = path.read_bytes()
    assert pictures.is_readable(str(path)) and pictures.is_readable(content)
    assert pictures.is_readable(content + b"\0" * 40)  # some cameras write more behind it
    for kept in (0, 10, 60, len(content) // 2):
        assert not pictures.is_readable(content[:kept]), kept


def test_a_broken_picture_is_found_with_its_line(seeing: Make, qtune: Run) -> None:
    """LLaMA-Factory #8733"""
    root = seeing([row("<image>?", "a.png"), row("<image>?", "cut.png"), row("<image>!", "b.jpg")])
    cut_picture(root / "media" / "cut.png")
    result = qtune("data", "check", "rows", directory=root)
    assert result.code == 2
    assert "data/rows.jsonl:2: a picture in `images` is cut off, damaged, or no picture" in result.out
    assert "1 error" in result.out
    fixed = qtune("data", "check", "rows", "--fix", "good.jsonl", directory=root)
    assert "2 rows written" in fixed.out
    assert "cut.png" not in (root / "good.jsonl").read_text(encoding="utf-8")


def test_where_pictures_cannot_be_looked_at_that_is_said(
    seeing: Make, qtune: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = seeing([row("<image>?", "a.png"), row("<image>!", "a.png")])
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    result = qtune("data", "check", "rows", directory=root)
    assert result.code == 0
    assert result.out.count("Pillow is not installed") == 1 and "pip install 'qtune[data]'" in result.out
    assert "pictures need Pillow" in result.err
    assert "pictures need Pillow" in qtune("data", "stats", "rows", directory=root).out


# cutting


def test_a_cutoff_that_cuts_a_picture_stops_the_training(seeing: Make, qtune: Run) -> None:
    """LLaMA-Factory #5964: Image features and image tokens do not match"""
    long = "word " * 300
    rows = [
        row("<image>?", "b.jpg"),
        row(f"<image>{long}", "b.jpg"),
        row(f"{long}<image>", "b.jpg"),
        row(long),
    ]
    root = seeing(rows)
    check = cut_answers({**config(root), "cutoff_len": 100}, the_registration(root), root)
    found = {line: flaw.effect for line, flaw in check(rows, [1, 2, 3, 4])}
    assert found == {3: "crash"}
    result = qtune("data", "check", "rows", directory=cut_at(root, 100))
    assert result.code == 2
    assert "data/rows.jsonl:3: cutoff_len 100 cuts off tokens of its images or videos" in result.out


def the_registration(root: Path) -> Registration:
    return read_registrations(find_project(root))["rows"]


def cut_at(root: Path, cutoff_len: int) -> Path:
    train = {**config(root), "cutoff_len": cutoff_len}
    (root / "qtune.yaml").write_text(json.dumps({"train": train}), encoding="utf-8")
    return root


def test_what_an_answer_has_left_of_the_cutoff_is_less_by_its_picture(seeing: Make) -> None:
    rows = [row("?", a="word " * 150), row("<image>?", "b.jpg", a="word " * 150)]
    root = seeing(rows)
    text, with_picture = sorted(measured(root).lengths)
    for cutoff_len, cut in ((with_picture, []), (text, [2])):
        check = cut_answers({**config(root), "cutoff_len": cutoff_len}, the_registration(root), root)
        found = [(line, flaw.kind, flaw.effect) for line, flaw in check(rows, [1, 2])]
        assert found == [(line, "cutoff", "kept") for line in cut]


def test_rows_whose_media_are_not_counted_are_not_held_against_the_cutoff(seeing: Make, qtune: Run) -> None:
    root = seeing([row("<image>?", "a.png")], "llava")
    result = qtune("data", "check", "rows", directory=root)
    assert result.code == 0
    assert "cutoff_len cuts answers was not looked at: the media of template llava" in result.err


def test_a_row_that_the_models_processor_stops_at_is_found(seeing: Make, qtune: Run) -> None:
    """llamafactory/data/mm_plugin.py, Qwen3VLPlugin.process_messages: IndexError behind the first message"""
    frames = [["b.jpg", "b.jpg"]]
    rows = [row("<video>?", videos=frames), row("<video>?", videos=frames, turns=[["Hi", "Hello"]])]
    files = {
        "data/datasets.yaml": VIDEOS.replace("prompt: q", "prompt: q, history: turns"),
        "model/preprocessor_config.json": QWEN3,
        "model/video_preprocessor_config.json": QWEN3_VIDEOS,
    }
    root = seeing(rows, "qwen3_vl_nothink", **files)
    result = qtune("data", "check", "rows", directory=root)
    assert result.code == 2
    assert "data/rows.jsonl:2: the model's processor stops at its images or videos" in result.out
    assert "1 error" in result.out
    assert (measured(root).rows, measured(root).left_out) == (1, 1)


def test_rows_without_media_load_no_pillow(project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    root = project({"data/datasets.yaml": REGISTRATION})
    assert RowCheck(the_registration(root), "sft").flaws(row("?")) == ()
