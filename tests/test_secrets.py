"""Secrets: what is one, that none is written, and that what must not hold one says where it does."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import REPOSITORY, Result, write_tree

from qtune.config.own import copy_preset
from qtune.config.project import find_project
from qtune.render import manifest
from qtune.schema import arguments, launch_keys, zero_keys
from qtune.secrets import logs
from qtune.secrets.logs import clean
from qtune.secrets.names import is_secret, known
from qtune.secrets.text import holds, redacted, without

Qtune = Callable[..., Result]
WORD = "open-sesame"
TOKEN = "hf_" + "a1B2" * 9
ADDRESSES = (
    f"https://me:{WORD}@host/x",
    f"https://{WORD}@host/x",
    f"ssh://git:{WORD}@host/x",
    f"https://host/x?token={WORD}",
    f"https://host/x?a=1&access_token={WORD}",
    f"https://host/x?X-Amz-Signature={WORD}&b=2",
    f"https://host/x?sig={WORD}",
    f"https://host/x#accessToken={WORD}",
)
TREE = {
    "qtune.yaml": f"train: {{model_name_or_path: {REPOSITORY}/data/tiny-qwen2, dataset: rows}}\n",
    "data/datasets.yaml": "rows: {file_name: rows.jsonl}\n",
    "data/rows.jsonl": '{"instruction": "a", "output": "b"}\n' * 8,
}


def test_of_all_keys_these_are_secret() -> None:
    keys = [*arguments(), *launch_keys(), *zero_keys()]
    assert sorted(filter(is_secret, keys)) == [
        *("hf_hub_token", "hub_token", "ms_hub_token", "om_hub_token"),
        *("swanlab_api_key", "swanlab_lark_secret", "swanlab_lark_webhook_url"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("eos_token", "pad_token", "bos_token", "image_token", "decoder_start_token", "eos_token_id"),
        *("max_new_tokens", "additional_special_tokens", "new_special_tokens_config", "tokenized_path"),
        *("num_tokens", "cutoff_len", "keys", "author", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_these_names_are_no_secret(name: str) -> None:
    assert not is_secret(name)
    assert redacted([f"{name}=x", {name: "x"}, f"?{name}=x"]) == [f"{name}=x", {name: "x"}, f"?{name}=x"]


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "accessToken", "PGPASSWORD", "_redis_password", "api-key", "X-Amz-Credential", "apikey"],
)
def test_these_names_are(name: str) -> None:
    assert redacted([f"{name}={WORD}", {name: WORD}, f"--set=train.{name}={WORD}"]) == [
        *(f"{name}=<redacted>", {name: "<redacted>"}, f"--set=train.{name}=<redacted>")
    ]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_loses_its_secret_alone(address: str) -> None:
    told = without(f"see '{address}' or {address}\n")
    assert WORD not in told and told.count("host/x") == 2 and told.count("b=2") == 2 * address.count("b=2")
    assert without(told) == told and not holds(told)


@pytest.mark.parametrize(
    "harmless",
    [
        *("ssh://git@host/x", "https://host:80/team/@x", "git@host:x", "https://host/x?page=2&eos_token=3"),
        *("sk-learn-text-classifier-v2", "disk-0123456789abcdef0123", "a?b&c;d#e", "hf_cache/x", "1 @ 2"),
    ],
)
def test_other_text_stays(harmless: str) -> None:
    assert without(harmless) == harmless


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("key", ["train.hub_model_id", "train.run_name", "launch.ray_init_kwargs.address"])
def test_a_value_that_holds_one_is_refused_at_its_line(
    qtune: Qtune, project: Callable[..., Path], key: str, address: str
) -> None:
    root = project(TREE)
    block, *rest = key.split(".")
    lines = "".join(f"{'  ' * depth}{name}:\n" for depth, name in enumerate((block, *rest)))
    write_tree(root, {"presets/mine.yaml": f"extends: lora\n{lines.rstrip()} {address!r}\n"})
    write_tree(root, {"qtune.yaml": f"presets: [presets]\n{TREE['qtune.yaml']}"})
    done = qtune("render", "mine", directory=root)
    assert done.code == 2 and "which has no place in a rendered file" in done.err
    assert f"presets/mine.yaml:{2 + len(rest)}" in done.err and WORD not in done.out + done.err
    assert not (root / "rendered").exists()


def test_a_registration_that_holds_one_is_refused_at_its_line(
    qtune: Qtune, project: Callable[..., Path]
) -> None:
    root = project(TREE | {"data/datasets.yaml": f"rows:\n  hf_hub_url: {ADDRESSES[0]}\n"})
    done = qtune("render", "lora", directory=root)
    assert done.code == 2 and "data/datasets.yaml:2 rows.hf_hub_url" in done.err
    assert WORD not in done.out + done.err and not (root / "rendered").exists()


def test_a_template_that_writes_one_is_refused(qtune: Qtune, project: Callable[..., Path]) -> None:
    launch = (REPOSITORY / "templates" / "launch" / "launch.sh.j2").read_text()
    tree = {
        "qtune.yaml": f"presets: [presets]\n{TREE['qtune.yaml']}",
        "presets/mine.yaml": "extends: lora\n",
        "templates/launch/launch.sh.j2": f"{launch}\nexport HF_TOKEN={TOKEN}\n",
    }
    root = project(TREE | tree)
    done = qtune("render", "mine", directory=root)
    assert done.code == 2 and "rendered/mine/launch.sh:" in done.err
    assert TOKEN not in done.out + done.err and not (root / "rendered").exists()


def test_what_is_only_told_is_written_without(qtune: Qtune, project: Callable[..., Path]) -> None:
    root = project(
        TREE
        | {
            "qtune.yaml": f"presets: [presets]\n{TREE['qtune.yaml']}",
            "presets/mine.yaml": f"about: see {ADDRESSES[0]}\nextends: lora\n",
        }
    )
    assert qtune("render", "mine", directory=root).code == 0
    texts = [path.read_text() for path in (root / "rendered" / "mine").iterdir()]
    assert any("<redacted>@host" in text for text in texts) and not any(WORD in text for text in texts)
    assert (root / "rendered" / "mine" / manifest.FILE).is_file()


def test_a_copy_of_a_preset_is_made_without(project: Callable[..., Path]) -> None:
    tree = {
        "qtune.yaml": f"presets: [presets]\n{TREE['qtune.yaml']}",
        "presets/theirs.yaml": f"extends: lora\ntrain: {{run_name: {ADDRESSES[0]!r}, hub_token: {WORD}}}\n",
    }
    text = copy_preset(find_project(project(TREE | tree)), "theirs", "mine").read_text()
    assert WORD not in text and text.count("<redacted>") == 2


def test_an_import_leaves_addresses_with_secrets_out(qtune: Qtune, project: Callable[..., Path]) -> None:
    text = f"stage: sft\ndo_train: true\nmodel_name_or_path: m\ntemplate: qwen\nrun_name: {ADDRESSES[3]}\n"
    root = project(TREE | {"original.yaml": f"{text}dataset: rows\nfinetuning_type: lora\n"})
    done = qtune("import", "original.yaml", "-n", "mine", directory=root)
    assert done.code == 0 and "run_name" in done.err, done.err
    assert WORD not in done.out + done.err + (root / "presets" / "mine.yaml").read_text()


@pytest.mark.parametrize("seed", range(8))
def test_a_log_is_cleaned_wherever_it_is_cut(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of the size of a few secrets, with line ends and without."""
    monkeypatch.setattr(logs, "_BLOCK", 256)
    monkeypatch.setattr(logs, "_LONGEST", 128)
    dice = random.Random(seed)
    given = "of the environment\nover two lines"
    secrets = (TOKEN, given, f"Bearer {WORD}{WORD}", *(address.replace(WORD, TOKEN) for address in ADDRESSES))
    pieces = []
    for _ in range(300):
        pieces += [
            dice.choice(("x", "é ", "\n", "\r", " ")) * dice.randrange(60),
            " ",
            dice.choice(secrets),
            " ",
        ]
    log = tmp_path / "train.log"
    log.write_text("".join(pieces))
    whole = without(log.read_bytes().decode("latin-1"), [given]).encode("latin-1")
    clean(log, [given])
    assert log.read_bytes() == whole
    assert not any(word.encode() in whole for word in (TOKEN, given, WORD))


def test_a_log_without_secrets_is_not_written_anew(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_bytes(b"fine \xff\r 1/9\n" * 200_000)
    before = log.stat()
    clean(log, ["absent-word"])
    clean(tmp_path / "none.log", [])
    assert log.stat().st_ino == before.st_ino


def test_pieces_of_a_line_without_end_are_bounded() -> None:
    pieces = list(logs._pieces(io.BytesIO(b"x" * 5_000_000), []))
    assert max(map(len, pieces)) < 2_000_000 and sum(map(len, pieces)) == 5_000_000


def test_an_environment_s_secrets_are_the_long_ones() -> None:
    assert known({"A_TOKEN": "1", "B_KEY": "0" * 8, "C_SECRET": "1" * 9, "HOME": "2" * 9}) == [
        "1" * 9,
        "0" * 8,
    ]
