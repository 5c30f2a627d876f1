"""`export` up to the library, for which programs stand in: what they are asked, what is left, refused."""

from __future__ import annotations

import errno
import getpass
import json
import os
import platform
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from trees import ROWS, TINY_MODEL, Result, files_below, read_only, write_tree

from qtune.config.project import find_project
from qtune.config.resolve import overrides
from qtune.errors import QtuneError
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.processes import process
from qtune.runs.record import start
from qtune.use.exporting import gguf, perform
from qtune.use.exporting.comparison import Comparison
from qtune.use.exporting.plan import plan
from qtune.use.exporting.readers import Readers
from qtune.use.models import find

Make = Callable[..., Path]
Command = Callable[..., Result]

# In the place of llamafactory-cli: a model's files, or the failure that export_size asks for.
EXPORTER = """
import os, pathlib, signal, sys, time
import yaml
asked = yaml.safe_load(pathlib.Path(sys.argv[2]).read_text())
print("the library speaks")
made = pathlib.Path(asked["export_dir"])
made.mkdir()
(made / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}" + bytes(90))
if asked["export_size"] == 13:
    print("safetensors_rust.SafetensorError: Error while serializing: No space left on device")
    sys.exit(1)
if asked["export_size"] == 14:
    import psutil
    os.kill(psutil.Process(os.getppid()).ppid(), signal.SIGINT)  # below its supervisor
    time.sleep(60)
base = pathlib.Path(asked["model_name_or_path"], "config.json")
(made / "config.json").write_text(base.read_text() if base.is_file() else "{}")
(made / "tokenizer_config.json").write_text("{}")
(made / "asked.yaml").write_text(pathlib.Path(sys.argv[2]).read_text())
if asked["export_size"] == 15:
    print("ValueError: Dict is not supported.")
    sys.exit(1)
"""
# In the place of the Python with the library: the script's answer.
PYTHON = """
import json, sys
request = json.loads(sys.stdin.readline())
answer = "FROM ."
if not sys.argv[1].endswith("modelfile.py"):
    away = request["exported"].get("default_system") == "another"
    answer = {
        "positions": 8, "same": 6 if away else 8, "largest_gap": 3.0 if away else 0.0,
        "largest_difference": 9.0 if away else 1e-5, "typical_difference": 1.0 if away else 1e-6,
        "typical_effect": 1.0, "largest_logit": 20.0, "epsilon": 1.2e-7,
    }
print(json.dumps({"done": answer}))
"""
# In the place of llama.cpp's converter, which fails where FAILS is set.
CONVERTER = """
import os, pathlib, sys
model, outfile, named = sys.argv[1], sys.argv[3], sys.argv[5]
assert sys.argv[2::2] == ["--outfile", "--model-name"] and pathlib.Path(model, "config.json").is_file()
if "FAILS" in os.environ:
    sys.exit("NotImplementedError: BPE pre-tokenizer was not recognized")
pathlib.Path(outfile).write_text(named)
"""


def finished(root: Path, name: str, preset: str = "lora", *settings: str, status: str = "finished") -> Path:
    """A run's directory as a training leaves it, with weights of one number."""
    layers = [overrides(settings)] if settings else []
    prepared = pipeline.prepare(preset, find_project(root), Hardware(), layers)
    assert prepared.errors == (), prepared.errors
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    directory = write_tree(root / "runs" / name, {"adapter_config.json": "{}"})
    weights = struct.pack("<Q", len(header)) + header + bytes(4)
    (directory / "adapter_model.safetensors").write_bytes(weights)
    steps = prepared.steps.total if prepared.steps else None
    start(directory, prepared.manifest, predicted_steps=steps).end(status, 0, None)
    return directory


@pytest.fixture
def here(project: Make) -> Path:
    root = project({"data/rows.jsonl": ROWS, "base/README.md": "---\nlicense: mit\n---\nA model\n"})
    for file in TINY_MODEL.iterdir():
        (root / "base" / file.name).symlink_to(file)
    write_tree(root, {"qtune.yaml": "train: {model_name_or_path: base, dataset: rows}\n"})
    finished(root, "one")
    return root


@pytest.fixture(autouse=True)
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = {"llamafactory-cli": EXPORTER, "python3": PYTHON}
    path = write_tree(
        tmp_path / "bin", {name: f"#!{sys.executable}\n{text}" for name, text in programs.items()}
    )
    for name in programs:
        (path / name).chmod(0o755)
    monkeypatch.setattr(process, "find_program", lambda name, fix="": path / Path(name).name)


def asked(root: Path, name: str = "one") -> dict[str, object]:
    return yaml.safe_load((root / "exports" / name / "asked.yaml").read_text())


def test_an_export_is_whole_and_nothing_else_is_left(here: Path, qtune: Command) -> None:
    done = qtune("export", directory=here)
    assert (done.code, done.out) == (0, "exports/one\n"), done.err
    assert "checked: the same next token at 8 of 8 places" in done.err
    names = {
        "model.safetensors",
        "config.json",
        "tokenizer_config.json",
        "asked.yaml",
        "README.md",
        "Modelfile",
    }
    assert files_below(here / "exports") == {f"one/{name}" for name in names}
    assert {file.stat().st_mode & 0o777 for file in (here / "exports" / "one").iterdir()} == {0o644}


def test_a_read_only_run_is_exported(here: Path, qtune: Command) -> None:
    with read_only(here / "runs" / "one"):
        assert qtune("export", directory=here).code == 0
    assert (here / "exports" / "one" / "README.md").is_file()


def test_what_the_library_is_asked(here: Path, qtune: Command) -> None:
    finished(here, "q", "qlora", "vllm_maxlen=99", "enable_thinking=false")
    qtune("export", "q", "-s", "export_size=2", directory=here)
    given = asked(here, "q")
    assert given["adapter_name_or_path"] == "runs/q" and given["model_name_or_path"] == "base"
    assert (given["template"], given["enable_thinking"]) == ("qwen", False)
    assert (given["export_size"], given["export_device"], given["export_legacy_format"]) == (2, "cpu", False)
    assert given["infer_dtype"] == "float32"  # the base model's
    assert not {name for name in given if "quantization" in name or name.startswith("vllm")}


def test_the_dtype_is_the_base_models_unless_asked(here: Path, qtune: Command) -> None:
    qtune("export", "-s", "infer_dtype=bfloat16", directory=here)
    assert asked(here)["infer_dtype"] == "bfloat16"
    assert "The weights are bfloat16" in (here / "exports" / "one" / "README.md").read_text()


def test_a_checkpoint_goes_to_a_directory_of_its_own(here: Path, qtune: Command) -> None:
    checkpoint = here / "runs" / "one" / "checkpoint-3"
    checkpoint.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (checkpoint / name).write_bytes((here / "runs" / "one" / name).read_bytes())
    done = qtune("export", "one", "--checkpoint", "3", "--no-check", directory=here)
    assert done.out == "exports/one-checkpoint-3\n" and "not checked" in done.err
    assert asked(here, "one-checkpoint-3")["adapter_name_or_path"] == "runs/one/checkpoint-3"


def test_the_card_tells_the_record_and_nothing_of_the_machine(here: Path, qtune: Command) -> None:
    finished(here, "two", "dora", "run_name=mine", "learning_rate=3.0e-4")
    qtune("export", "two", directory=here)
    text = (here / "exports" / "two" / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["tags"] == ["llama-factory", "qtune", "lora", "sft"]
    assert (front["license"], front["datasets"]) == ("mit", ["rows"])
    assert "base_model" not in front  # a directory is nobody else's
    for told in ("base, after DoRA (sft), merged", "`dora`", "| `learning_rate` | 0.0003 |", "rows: 10 rows"):
        assert told in text
    for secret in (str(here), platform.node(), getpass.getuser(), "mine"):
        assert secret not in text.split("## Versions")[0]


def test_a_hubs_base_model_is_named_in_the_cards_front(here: Path, qtune: Command) -> None:
    finished(here, "hub", "lora", "model_name_or_path=Qwen/Qwen2.5-0.5B-Instruct")
    done = qtune("export", "hub", "--json", directory=here)
    front = yaml.safe_load((here / "exports" / "hub" / "README.md").read_text().split("---")[1])
    assert front["base_model"] == "Qwen/Qwen2.5-0.5B-Instruct" and "license" not in front
    assert json.loads(done.out)["check"]["same"] == 8
    assert asked(here, "hub")["infer_dtype"] == "bfloat16"


def test_a_broken_template_is_told_before_anything_starts(here: Path, qtune: Command) -> None:
    write_tree(here, {"templates/model_card.md.j2": "{{ nothing }}"})
    write_tree(here, {"qtune.yaml": "presets: [.]\ntrain: {model_name_or_path: base, dataset: rows}\n"})
    done = qtune("export", directory=here)
    assert done.code == 2 and "model_card.md.j2" in done.err and "merging" not in done.err


def test_data_that_changed_since_is_not_counted(here: Path, qtune: Command) -> None:
    write_tree(here, {"data/rows.jsonl": ROWS * 7})
    qtune("export", directory=here)
    assert "| data | rows |" in (here / "exports" / "one" / "README.md").read_text()


@pytest.mark.parametrize(("size", "code"), [(13, 1), (14, 130)])
def test_what_fails_or_is_interrupted_leaves_nothing(
    here: Path, qtune: Command, size: int, code: int
) -> None:
    before = files_below(here)
    done = qtune("export", "-s", f"export_size={size}", directory=here)
    assert (done.code, done.out) == (code, "")
    assert files_below(here) == before and not (here / "exports").exists()
    if code == 1:
        assert "the export failed: safetensors_rust.SafetensorError" in done.err
        assert "No space left on device" in done.err


@pytest.mark.parametrize("file", ["export.yaml", "Modelfile", "README.md"])
def test_a_disk_that_fills_up_is_one_line_and_no_half_export(
    here: Path, qtune: Command, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    before = files_below(here)

    def full(path: Path, text: str, encoding: str = "utf-8") -> None:
        if path.name == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        path.write_bytes(text.encode(encoding))

    monkeypatch.setattr(perform, "write_atomic", full)
    monkeypatch.setattr(Path, "write_text", full)
    done = qtune("export", directory=here)
    errors = done.err[done.err.index("error: ") :].splitlines()
    assert done.code == 2 and errors[0] == "error: exports/one: No space left on device"
    assert len(errors) == 2 and files_below(here) == before and not (here / "exports").exists()


def test_a_modelfile_that_the_library_cannot_write_is_no_failure(here: Path, qtune: Command) -> None:
    assert qtune("export", "-s", "export_size=15", directory=here).code == 0
    assert (here / "exports" / "one" / "Modelfile").read_text() == "FROM ."


def test_another_answer_fails_and_is_kept_aside(here: Path, qtune: Command) -> None:
    for kept in ("one-mismatch", "one-mismatch-2"):
        done = qtune("export", "-s", "default_system=another", directory=here)
        assert done.code == 1 and f"kept for a look: exports/{kept}" in done.err
        assert "the same next token at 6 of 8 places; largest difference of a logit 9" in done.err
        assert (here / "exports" / kept / "model.safetensors").is_file()
    assert not (here / "exports" / "one").exists()


def test_what_is_there_is_replaced_only_when_asked(here: Path, qtune: Command) -> None:
    qtune("export", directory=here)
    (here / "exports" / "one" / "old").touch()
    done = qtune("export", directory=here)
    assert done.code == 2 and "exists already" in done.err
    failed = qtune("export", "--force", "-s", "export_size=13", directory=here)
    assert failed.code == 1 and (here / "exports" / "one" / "old").exists()
    assert qtune("export", "--force", directory=here).code == 0
    assert not (here / "exports" / "one" / "old").exists()


def test_only_an_export_is_ever_replaced(here: Path, qtune: Command) -> None:
    done = qtune("export", "-o", "data", "--force", directory=here)
    assert done.code == 2 and "is no export of qtune's" in done.err
    assert (here / "data" / "rows.jsonl").is_file()


def test_an_empty_directory_is_as_good_as_none(here: Path, qtune: Command, tmp_path: Path) -> None:
    target = tmp_path / "my models"
    target.mkdir()
    assert qtune("export", "-o", str(target), directory=here).code == 0
    assert (target / "README.md").is_file()


def test_room_is_looked_at_first(here: Path) -> None:
    planned = plan(find(find_project(here)), (), here)
    assert planned.size is not None and 600_000 < planned.size < 800_000
    with pytest.raises(QtuneError, match=r"needs about 1000000000.0 GB, and .* are free"):
        perform.require_target(here / "exports" / "x", replace(planned, size=10**18), force=False)
    perform.require_target(here / "exports" / "x", replace(planned, size=None), force=False)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("export_dir=x", "give the directory with -o"),
        ("export_hub_model_id=me/x", "hf upload"),
        ("quantization_bit=4", "nothing merges into quantised weights"),
        ("quantization_method=awq", "no AWQ"),
        ("temperature=0.1", "has no effect"),
        ("export_sizes=2", "did you mean `export_size`"),
        ("export_size=big", "export_size"),
        ("export_quantization_bit=5", "GPTQ makes no 5 bits"),
        ("export_quantization_bit=4", "texts to calibrate with"),
        ("export_quantization_nsamples=4", "no effect without export_quantization_bit"),
    ],
)
def test_a_setting_that_means_nothing_here_is_refused(
    here: Path, qtune: Command, setting: str, told: str
) -> None:
    done = qtune("export", "-s", setting, directory=here)
    assert done.code == 2 and told in done.err, done.err
    assert not (here / "exports").exists()


GPTQ = ("export_quantization_bit=4", "export_quantization_dataset=data/rows.jsonl")


def test_gptq_needs_its_packages(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qtune.use.exporting.plan.version", lambda name: None)
    with pytest.raises(QtuneError, match="`optimum` and `gptqmodel` are not installed here") as caught:
        plan(find(find_project(here)), GPTQ, here)
    assert "pip install" in str(caught.value.fix)


def test_gptq_comes_after_the_merge(here: Path, qtune: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLaMA-Factory refuses an adapter and GPTQ together."""
    monkeypatch.setattr("qtune.use.exporting.plan.version", lambda name: "9")
    done = qtune("export", "-s", GPTQ[0], "-s", GPTQ[1], directory=here)
    assert done.code == 0 and "quantising it with GPTQ" in done.err
    given = asked(here)
    assert given["export_quantization_bit"] == 4
    assert "adapter_name_or_path" not in given and str(given["model_name_or_path"]).endswith("/model")
    assert "quantised to 4 bits with GPTQ" in (here / "exports" / "one" / "README.md").read_text()


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = write_tree(tmp_path, {f"bin/{gguf.COMMANDS[0]}": f"#!{sys.executable}\n{CONVERTER}"})
    file = file / "bin" / gguf.COMMANDS[0]
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(gguf.CHECKOUT, raising=False)
    return file


@pytest.mark.usefixtures("converter")
def test_llama_cpps_converter_makes_a_gguf(here: Path, qtune: Command) -> None:
    done = qtune("export", "--gguf", directory=here)
    assert done.code == 0 and "converting it to GGUF" in done.err, done.err
    made = here / "exports" / "one"
    assert (made / "model.gguf").read_text() == "one"
    assert "llama.cpp runs `model.gguf`" in (made / "README.md").read_text()


def test_a_conversion_that_fails_leaves_nothing(
    here: Path, qtune: Command, converter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_below(here)
    monkeypatch.setenv("FAILS", "1")
    done = qtune("export", "--gguf", directory=here)
    assert done.code == 1 and "BPE pre-tokenizer was not recognized" in done.err
    monkeypatch.delenv("FAILS")
    converter.write_text(f"#!{sys.executable}\n")
    done = qtune("export", "--gguf", directory=here)
    assert done.code == 1 and "converter left no model.gguf" in done.err
    assert files_below(here) == before


def test_without_the_converter_nothing_is_merged(
    here: Path, qtune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(here))
    monkeypatch.delenv(gguf.CHECKOUT, raising=False)
    for checkout, told in (
        (None, "is not installed here"),
        (here / "data", "holds no convert_hf_to_gguf.py"),
    ):
        if checkout is not None:
            monkeypatch.setenv(gguf.CHECKOUT, str(checkout))
        done = qtune("export", "--gguf", directory=here)
        assert done.code == 2 and told in done.err and "git clone" in done.err
        assert "merging" not in done.err and not (here / "exports").exists()


def test_a_checkouts_converter_runs_with_the_librarys_python(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(here, {"llama.cpp/convert_hf_to_gguf.py": ""})
    monkeypatch.setenv(gguf.CHECKOUT, str(here / "llama.cpp"))
    script = str(here / "llama.cpp" / "convert_hf_to_gguf.py")
    assert gguf.find_converter() == (str(tmp_path / "bin" / "python3"), script)


def test_a_gguf_is_made_of_whole_weights(here: Path, qtune: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qtune.use.exporting.plan.version", lambda name: "9")
    done = qtune("export", "--gguf", "-s", GPTQ[0], "-s", GPTQ[1], directory=here)
    assert done.code == 2 and "does not go with GPTQ" in done.err


@pytest.mark.parametrize(
    ("model_type", "architecture", "quantised", "transformers_4", "ollama"),
    [
        ("qwen2", "Qwen2ForCausalLM", False, True, True),
        ("qwen3", "Qwen3ForCausalLM", False, True, False),
        ("cohere", "CohereForCausalLM", False, False, True),
        ("qwen2", "Qwen2ForCausalLM", True, False, False),
    ],
)
def test_who_reads_it(
    tmp_path: Path,
    model_type: str,
    architecture: str,
    quantised: bool,
    transformers_4: bool,
    ollama: bool,
) -> None:
    write_tree(tmp_path, {"config.json": {"model_type": model_type, "architectures": [architecture]}})
    found = Readers.of(tmp_path, quantised=quantised)
    assert (found.transformers_4, found.ollama) == (transformers_4, ollama)


def test_the_card_says_who_reads_it(here: Path, qtune: Command) -> None:
    """ollama's converter takes Qwen 2, and no Qwen 3."""
    qtune("export", directory=here)
    text = (here / "exports" / "one" / "README.md").read_text()
    assert "transformers 5 and 4.57 read it alike" in text and "`ollama create NAME`" in text
    config = json.loads((TINY_MODEL / "config.json").read_text())
    (here / "base" / "config.json").unlink()
    config |= {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}
    write_tree(here, {"base/config.json": config})
    qtune("export", "--force", directory=here)
    text = (here / "exports" / "one" / "README.md").read_text()
    assert "transformers 5 and 4.57 read it alike" in text and "ollama" not in text


def test_an_export_has_the_older_names_too(here: Path, qtune: Command) -> None:
    config = json.loads((TINY_MODEL / "config.json").read_text())
    (here / "base" / "config.json").unlink()
    rope = {"rope_theta": 1e6, "rope_type": "default"}
    write_tree(here, {"base/config.json": {**config, "rope_theta": None, "rope_parameters": rope}})
    qtune("export", directory=here)
    made = json.loads((here / "exports" / "one" / "config.json").read_text())
    assert made["rope_theta"] == 1e6 and made["rope_parameters"] == rope


def test_nothing_merges_into_a_quantised_base(here: Path, qtune: Command) -> None:
    config = json.loads((TINY_MODEL / "config.json").read_text())
    (here / "base" / "config.json").unlink()
    write_tree(
        here, {"base/config.json": {**config, "quantization_config": {"quant_method": "gptq", "bits": 4}}}
    )
    done = qtune("export", directory=here)
    assert done.code == 2 and "is quantised (gptq)" in done.err


def test_an_unfinished_run_is_refused(here: Path, qtune: Command) -> None:
    finished(here, "broken", status="stopped")
    done = qtune("export", "broken", directory=here)
    assert done.code == 2 and "is stopped" in done.err
    assert not (here / "exports").exists()


SAME = Comparison(100, 100, 0.0, 1e-5, 1e-6, 0.5, 20.0, 1.2e-7)


def test_equal_choices_and_a_small_difference_agree() -> None:
    assert SAME.agrees
    assert SAME.summary.startswith("the same next token at 100 of 100 places; largest difference")


def test_a_tie_but_for_rounding_agrees() -> None:
    tie = replace(SAME, same=98, largest_gap=0.2, typical_difference=0.05, epsilon=2**-7)
    assert tie.agrees and "(a tie but for rounding at the other 2)" in tie.summary
    assert not replace(tie, epsilon=1.2e-7).agrees  # float32 does not round so far


def test_a_wrong_scale_is_seen_although_every_choice_is_the_same() -> None:
    assert not replace(SAME, typical_difference=0.3).agrees


def test_a_model_trained_whole_is_compared_without_an_effect() -> None:
    whole = replace(SAME, typical_effect=None, largest_difference=0.0, typical_difference=0.0)
    assert whole.agrees and "moved" not in whole.summary
    assert not replace(whole, typical_difference=0.1).agrees
