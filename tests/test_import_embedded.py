"""`qtune import` of other kinds of file: programs, notebooks, containers, Makefiles, LLaMA Board."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import Result, files_below, write_tree

from qtune.config.project import find_project
from qtune.errors import QtuneError
from qtune.importing.read import Imported, read_import

Qtune = Callable[..., Result]

MODEL = "Qwen/Qwen2.5-1.5B-Instruct"
CONFIG = (
    f"model_name_or_path: {MODEL}\nstage: sft\ndo_train: true\ndataset: answers\ntemplate: qwen\n"
    "finetuning_type: lora\noutput_dir: saves/p\n"
)
DICT = f"dict(model_name_or_path='{MODEL}', stage='sft', do_train=True, dataset='answers', template='qwen'"
FLAGS = (
    f"--model_name_or_path {MODEL} --stage sft --do_train --dataset answers --template qwen "
    "--finetuning_type lora --output_dir saves/p"
)
TREE: dict[str, Any] = {
    "qtune.yaml": "presets: [presets]\n",
    "presets/.keep": "",
    "data/dataset_info.json": {"answers": {"file_name": "answers.json"}},
    "data/answers.json": '[{"instruction": "a", "input": "", "output": "b"}]',
    "lora.yaml": CONFIG,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "project", TREE)


def imported(root: Path, name: str, text: str) -> Imported:
    write_tree(root, {name: text})
    return read_import(root / name, root, find_project(root))


def train(result: Imported) -> dict[str, Any]:
    """What the preset sets of the arguments, without what only undoes base."""
    assert result.errors == (), [str(error) for error in result.errors]
    return {key: value for key, value in yaml.safe_load(result.text)["train"].items() if value is not None}


def launch(result: Imported) -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load(result.text).get("launch", {})
    return found


def said(result: Imported) -> str:
    return "\n".join(str(item) for item in (*result.notes, *result.findings))


def refused(root: Path, name: str, text: str) -> QtuneError:
    with pytest.raises(QtuneError) as raised:
        imported(root, name, text)
    return raised.value


def notebook(*cells: str) -> str:
    code = [{"cell_type": "code", "source": cell.splitlines(keepends=True), "outputs": []} for cell in cells]
    return json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


# ── Python ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        f"run_exp({DICT}, learning_rate=3e-4))",
        f"args = {DICT})\nargs['learning_rate'] = 3e-4\nrun_exp(args)",
        f"LR = 1.5e-4\nbase = {DICT})\n"
        "def main():\n    run_exp(args={**base, 'learning_rate': 2 * LR})\nmain()",
        f"import json\njson.dump({DICT}, learning_rate=3e-4), open('a.json', 'w'))\n"
        "import subprocess\nsubprocess.run(['llamafactory-cli', 'train', 'a.json'], check=True)",
        f"import yaml, os\nwith open('a.yaml', 'w') as f:\n    yaml.dump({DICT}), f)\n"
        "os.system('llamafactory-cli train a.yaml learning_rate=3e-4')",
        f"from pathlib import Path\nPath('a.yaml').write_text('''{CONFIG}''')\n"
        "import subprocess\n"
        "subprocess.check_call('llamafactory-cli train a.yaml --learning_rate 3e-4'.split())",
        "import os\nlr = 3e-4\nos.system(f'llamafactory-cli train lora.yaml learning_rate={lr}')",
        f"import os\nos.system('llamafactory-cli train {FLAGS} --learning_rate 3e-4')",
        "from subprocess import run\nrun(['lmf', 'train', 'lora.yaml', 'learning_rate=3e-4'])",
        "from omegaconf import OmegaConf\n"
        f"OmegaConf.save(OmegaConf.create({DICT}, learning_rate=3e-4)), 'b.yaml')",
        f"args = {DICT}, learning_rate=3e-4)\nmain(args)",
    ],
)
def test_a_program_is_the_training_that_its_literals_say(root: Path, text: str) -> None:
    result = imported(root, "call.py", text)
    found = train(result)
    assert found["model_name_or_path"] == MODEL and found["learning_rate"] == 3e-4
    assert found["dataset"] == "answers" and result.datasets == {"answers": {"file_name": "answers.json"}}


def test_what_only_the_running_program_has_is_one_error_at_its_line(root: Path) -> None:
    result = imported(
        root, "call.py", f"args = {DICT},\n  learning_rate=lr(),\n  output_dir=now())\nrun_exp(args)"
    )
    assert [(error.key, error.origin and error.origin.place) for error in result.errors] == [
        ("learning_rate", "call.py:2")
    ]
    assert "`lr(…)` is known only when the program runs" in said(result)


def test_nothing_of_a_program_is_run(root: Path) -> None:
    imported(root, "call.py", f"open('made', 'w').write('x')\nrun_exp({DICT}))")
    assert not (root / "made").exists()


def test_the_environment_of_a_program_is_that_of_its_commands(root: Path) -> None:
    text = (
        "import os, subprocess\nos.environ['NPROC_PER_NODE'] = '4'\nos.environ.update(HF_HOME='x')\n"
        "subprocess.run('llamafactory-cli train lora.yaml', shell=True, env={**os.environ, 'NNODES': '1'})"
    )
    result = imported(root, "run.py", text)
    assert launch(result)["nproc_per_node"] == 4 and "HF_HOME" in said(result)


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        ("print(1)", "is a Python program in which nothing starts a training", "call.py"),
        (f"run_exp({DICT}))\nrun_exp({DICT}))", "calls run_exp 2 times (lines 1, 2)", "call.py"),
        ("import x\nrun_exp(x.load())", "what run_exp trains is not written out: `x.load(…)`", "call.py:2"),
        ("a = (", "is no Python", "call.py:1"),
        (f"f({DICT}))\nf({DICT}, seed=1))", "holds 2 training configs, and starts none of them", "call.py"),
    ],
)
def test_a_program_that_says_no_training_is_told_so(root: Path, text: str, what: str, where: str) -> None:
    error = refused(root, "call.py", text)
    assert what in error.what and error.where == where and error.fix


def test_a_program_of_another_toolkit_is_read_as_that(root: Path) -> None:
    text = (
        "from trl import SFTConfig, SFTTrainer\nSFTTrainer(model='a/b', args=SFTConfig(learning_rate=3e-4))"
    )
    assert "SFTTrainer" in imported(root, "train.py", text).kind


# ── notebooks and Markdown ─────────────────────────────────────────────────────────────────────────────


def test_the_cells_of_a_notebook_are_read_together(root: Path) -> None:
    text = notebook(
        "import json\nRANK = 16",
        "%env NPROC_PER_NODE=2\n%matplotlib inline",
        f"json.dump({DICT},\n  lora_rank=RANK), open('a.json', 'w'))",
        "!pip install -q llamafactory\nlr = 3e-4\n!llamafactory-cli train a.json \\\n  learning_rate={lr}",
    )
    result = imported(root, "cells.ipynb", text)
    found = train(result)
    assert found["lora_rank"] == 16 and found["learning_rate"] == 3e-4
    assert launch(result)["nproc_per_node"] == 2 and result.kind == "a command in a notebook"


def test_a_place_in_a_notebook_is_its_cell_and_the_line_there(root: Path) -> None:
    text = notebook(
        "a = 1\n", f"import json\njson.dump({DICT},\n  lora_rnk=8), open('a.json', 'w'))", "!lmf train a.json"
    )
    (error,) = imported(root, "cells.ipynb", text).errors
    assert error.key == "lora_rnk" and error.origin is not None
    assert error.origin.place == "cells.ipynb cell 2:3"


@pytest.mark.parametrize(
    "cells",
    [
        (f"%%writefile a.yaml\n{CONFIG}", "%%bash\nexport FORCE_TORCHRUN=1\nllamafactory-cli train a.yaml"),
        ("%cd /content\n%%time\n", "%%capture\n!llamafactory-cli train lora.yaml"),
        ("config = 'lora.yaml'", "!llamafactory-cli train $config"),
        ("if True:\n    !llamafactory-cli train lora.yaml\nelse:\n    %pwd",),
        (f"%run src/train.py {FLAGS}",),
        (f"from llamafactory.train.tuner import run_exp\n?run_exp\nrun_exp({DICT}))",),
    ],
)
def test_a_notebooks_magics_are_what_ipython_makes_of_them(root: Path, cells: tuple[str, ...]) -> None:
    assert train(imported(root, "n.ipynb", notebook(*cells)))["model_name_or_path"] == MODEL


def test_a_cell_that_is_no_python_is_left_out_with_a_note(root: Path) -> None:
    result = imported(root, "n.ipynb", notebook("this is, text!", "!llamafactory-cli train lora.yaml"))
    assert "n.ipynb cell 1:1: left out: no Python" in said(result)


def test_two_starts_in_a_notebook_are_named_by_their_cells(root: Path) -> None:
    error = refused(root, "n.ipynb", notebook("a = 1\nb = 2", *["!llamafactory-cli train lora.yaml"] * 2))
    assert "line 1 of n.ipynb cell 2 with lora.yaml; line 1 of n.ipynb cell 3 with lora.yaml" in error.what


@pytest.mark.parametrize("text", ["{}", '{"cells": 1}', "[1]", "{"])
def test_what_is_no_notebook_is_said(root: Path, text: str) -> None:
    assert refused(root, "n.ipynb", text).what == "is no Jupyter notebook"


def test_a_notebook_with_large_pictures_is_read(root: Path) -> None:
    data = json.loads(notebook("!llamafactory-cli train lora.yaml"))
    data["cells"][0]["outputs"] = [{"data": {"image/png": "A" * 1_500_000}}]
    assert train(imported(root, "n.ipynb", json.dumps(data)))["model_name_or_path"] == MODEL


def test_markdown_is_read_by_its_fences(root: Path) -> None:
    text = (
        "# It's ours\nDon't forget `cfg.yaml`:\n```yaml\n" + CONFIG + "lora_rank: 64\n```\n"
        "Then:\n```bash\n$ pip install x\n$ FORCE_TORCHRUN=1 llamafactory-cli train cfg.yaml\n```\n"
        "which prints\n```\n--loss 1\n```\n"
    )
    result = imported(root, "README.md", text)
    assert train(result)["lora_rank"] == 64
    assert "README.md:16 FORCE_TORCHRUN: left out" in said(result)


def test_markdown_with_a_config_alone_is_that_config(root: Path) -> None:
    assert train(imported(root, "README.md", f"Text\n\n```yaml\n{CONFIG}```\n"))["template"] == "qwen"


def test_markdown_with_several_starts_names_their_lines(root: Path) -> None:
    fence = "```sh\nllamafactory-cli train lora.yaml\n```\n"
    error = refused(root, "README.md", fence + fence)
    assert "2 times" in error.what and "line 2" in error.what and "line 5" in error.what


# ── containers ─────────────────────────────────────────────────────────────────────────────────────────

DOCKERFILES = {
    "exec": (
        "FROM x:1 AS base\nRUN apt-get update && \\\n    apt-get install git\n"
        'CMD ["llamafactory-cli", "train", "/app/lora.yaml", "--lora_rank", "32"]\n'
    ),
    "entrypoint": (
        'FROM x:1\nENTRYPOINT ["llamafactory-cli"]\nCMD ["train", "conf/lora.yaml", "lora_rank=32"]\n'
    ),
    "shell": "FROM x:1\nARG RANK=32\nWORKDIR /app\nCMD llamafactory-cli train lora.yaml lora_rank=${RANK}\n",
    "options": (
        "FROM --platform=linux x:1\nRUN --mount=type=cache pip install y\n"
        f"CMD lmf train --lora_rank=32 {FLAGS}\n"
    ),
    "bash": (
        'FROM x:1\nENV RANK 32\nCMD ["bash", "-c", "llamafactory-cli train /app/lora.yaml lora_rank=$RANK"]\n'
    ),
}


@pytest.mark.parametrize("form", DOCKERFILES)
def test_a_dockerfile_is_the_command_that_it_runs(root: Path, form: str) -> None:
    result = imported(root, "Dockerfile", DOCKERFILES[form])
    assert train(result)["lora_rank"] == 32 and "FROM: x:1 is not taken over" in said(result)


def test_a_dockerfiles_environment_is_said(root: Path) -> None:
    text = 'FROM x\nENV NPROC_PER_NODE=2 \\\n    # ours\n    HF_HOME=/c\nCMD ["lmf", "train", "lora.yaml"]\n'
    result = imported(root, "Dockerfile.gpu", text)
    assert launch(result)["nproc_per_node"] == 2 and "HF_HOME: is no part of a preset" in said(result)


def test_a_document_within_a_dockerfile_is_the_config(root: Path) -> None:
    text = f"FROM x\nCOPY <<EOF /app/own.yaml\n{CONFIG}lora_rnk: 32\nEOF\nRUN <<EOF\npip install x\nEOF\n"
    (error,) = imported(root, "Dockerfile", f"{text}CMD lmf train /app/own.yaml\n").errors
    assert error.key == "lora_rnk" and error.origin is not None and error.origin.place == "Dockerfile:10"


def compose(service: str) -> str:
    return f"services:\n  db: {{image: postgres}}\n  tune:\n{service}"


@pytest.mark.parametrize(
    "service",
    [
        "    command: llamafactory-cli train /app/lora.yaml lora_rank=32\n",
        "    entrypoint: [llamafactory-cli]\n    command: [train, lora.yaml, lora_rank=32]\n",
        "    environment: {RANK: 32}\n    command: bash -c 'lmf train lora.yaml lora_rank=$$RANK'\n",
        "    environment: [RANK=32, T]\n    command: ['sh', '-c', 'lmf train lora.yaml lora_rank=$$RANK']\n",
    ],
)
def test_a_compose_file_is_the_command_of_its_service(root: Path, service: str) -> None:
    devices = "[{driver: nvidia, count: 2, capabilities: [gpu]}]"
    gpus = f"    deploy: {{resources: {{reservations: {{devices: {devices}}}}}}}\n"
    result = imported(root, "compose.yaml", compose(f"    image: x:1\n{service}{gpus}"))
    assert train(result)["lora_rank"] == 32 and launch(result) == {"nproc_per_node": 2}
    assert "launch.nproc_per_node: 2, the GPUs of `tune`" in said(result)


def test_a_volume_of_a_service_leads_to_this_machines_files(root: Path) -> None:
    write_tree(root, {"conf/own.yaml": f"{CONFIG}lora_rank: 32\n"})
    service = "    volumes: ['./conf:/etc/conf']\n    command: llamafactory-cli train /etc/conf/own.yaml\n"
    assert train(imported(root, "compose.yaml", compose(service)))["lora_rank"] == 32


def manifest(container: str, kind: str = "Job", above: str = "") -> str:
    return (
        f"apiVersion: batch/v1\nkind: {kind}\nmetadata: {{name: tune}}\nspec:\n{above}"
        f"  template:\n    spec:\n      containers:\n      - name: tune\n{container}"
    )


def test_a_job_is_the_command_of_its_container(root: Path) -> None:
    container = (
        "        command: [llamafactory-cli, train]\n        args:\n        - /cfg/lora.yaml\n"
        "        - lora_rank=$(RANK)\n"
        '        env: [{name: RANK, value: "32"}, {name: FORCE_TORCHRUN, value: "1"},\n'
        "          {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: a, key: b}}}]\n"
        "        resources: {limits: {nvidia.com/gpu: 4}}\n"
    )
    result = imported(root, "job.yaml", manifest(container) + "---\napiVersion: v1\nkind: Service\n")
    assert train(result)["lora_rank"] == 32 and launch(result) == {"nproc_per_node": 4}
    assert "/cfg/lora.yaml of the container is lora.yaml here" in said(result)


def test_a_config_map_of_the_same_file_is_what_trains(root: Path) -> None:
    config = "".join(f"    {line}\n" for line in f"{CONFIG}lora_rnk: 8\n".splitlines())
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cfg}}\ndata:\n  own.yaml: |\n{config}---\n"
    text += manifest("        args: [llamafactory-cli, train, /cfg/own.yaml]\n")
    (error,) = imported(root, "job.yaml", text).errors
    assert error.key == "lora_rnk" and error.origin is not None and error.origin.place == "job.yaml:13"


def test_a_broken_document_is_said_with_its_line(root: Path) -> None:
    text = manifest("        command: [lmf, train, lora.yaml]\n") + "---\nkind: [\n"
    assert refused(root, "job.yaml", text).where == f"job.yaml:{text.count(chr(10))}"


def test_the_replicas_of_a_pytorch_job_are_nodes(root: Path) -> None:
    pod = "{spec: {containers: [{name: pytorch, command: [lmf, train, lora.yaml]}]}}"
    text = (
        "apiVersion: kubeflow.org/v1\nkind: PyTorchJob\nmetadata: {name: a}\nspec:\n  pytorchReplicaSpecs:\n"
        f"    Master: {{replicas: 1, template: {pod}}}\n    Worker: {{replicas: 3, template: {pod}}}\n"
    )
    assert launch(imported(root, "job.yaml", text))["nnodes"] == 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Dockerfile", 'FROM x\nCMD ["python", "serve.py"]\n'),
        ("compose.yaml", compose("    command: sleep 1\n")),
        ("job.yaml", manifest("        command: [sleep, '1']\n")),
        ("Makefile", "all:\n\techo llamafactory-cli train lora.yaml\n"),
        ("run.bat", "@echo off\npython serve.py\n"),
    ],
)
def test_a_file_that_starts_no_training_is_told_what_it_is(
    qtune: Qtune, root: Path, name: str, text: str
) -> None:
    write_tree(root, {name: text})
    before = files_below(root)
    result = qtune("import", name, "-n", "ours", directory=root)
    assert result.code == 2 and "in which nothing starts a training of LLaMA-Factory" in result.err
    assert "fix: " in result.err and files_below(root) == before


def test_two_containers_that_train_are_named(root: Path) -> None:
    text = "services:\n" + "".join(f"  {name}:\n    command: lmf train lora.yaml\n" for name in ("a", "b"))
    assert (
        "starts LLaMA-Factory 2 times (`a`, line 3, `b`, line 5)" in refused(root, "compose.yaml", text).what
    )


# ── Makefiles and Windows ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "train:\n\tllamafactory-cli train lora.yaml lora_rank=32\n",
        "RANK ?= 32\nARGS = lora_rank=$(RANK) \\\n  seed=1\n"
        "train: lora.yaml\n\t@FORCE_TORCHRUN=1 lmf train $< $(ARGS)\n",
        "export RANK := 32\n.PHONY: train\ntrain:\n\t-cd . && \\\n\t  lmf train lora.yaml lora_rank=$$RANK\n",
        "CLI = lmf\nARGS := lora_rank=32\nARGS += seed=1\nsft/%:\n\t$(CLI) train lora.yaml ${ARGS}\n",
    ],
)
def test_a_makefile_is_the_command_of_its_recipe(root: Path, text: str) -> None:
    assert train(imported(root, "Makefile", text))["lora_rank"] == 32


def test_a_makefiles_variable_that_grows_too_long_or_leads_to_itself_is_not_known(root: Path) -> None:
    doubled = "".join(f"A{number} = $(A{number - 1})$(A{number - 1})\n" for number in range(1, 16))
    text = f"A0 = x\n{doubled}B = $(B)\ntrain:\n\tlmf train lora.yaml run_name=$(A15) seed=$(B)\n"
    assert {error.key for error in imported(root, "Makefile", text).errors} == {"run_name", "seed"}


def test_what_a_makefile_sets_under_a_condition_is_not_known(root: Path) -> None:
    text = "RANK = 8\nifeq ($(BIG),1)\nRANK = 32\nendif\ntrain:\n\tlmf train lora.yaml lora_rank=$(RANK)\n"
    (error,) = imported(root, "Makefile", text).errors
    assert error.key == "lora_rank" and error.origin is not None and error.origin.line == 6


BATCH = (
    "@echo off\nREM it's ours\nset RANK=32\n"
    f"llamafactory-cli train ^\n  {FLAGS[:-7]}saves\\w ^\n  --lora_rank %RANK%\n"
)
POWERSHELL = (
    'param(\n  [int]$Rank = 32\n)\n<# ours #>\n$env:HF_HOME = "D:\\hub"\n'
    "$more = @(\n  '--lora_rank', $Rank\n)\n"
    f"& llamafactory-cli train `\n  {FLAGS} @more\n"
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.bat", BATCH),
        ("run.cmd", "call llamafactory-cli train conf\\..\\lora.yaml lora_rank=32\r\npause\r\n"),
        (
            "run.bat",
            'setlocal\nset "CFG=%~dp0lora.yaml"\nif exist x (\n  set X=1\n)\nlmf train %CFG% lora_rank=32\n',
        ),
        ("run.ps1", POWERSHELL),
        (
            "run.ps1",
            '$cfg = "lora.yaml"\nif ($x) {\n  $y = 1\n} else {\n  $y = 2\n}\nlmf train $cfg lora_rank=32\n',
        ),
    ],
)
def test_a_script_of_windows_is_the_command_in_it(root: Path, name: str, text: str) -> None:
    write_tree(root, {"conf/.keep": ""})
    result = imported(root, name, text)
    assert train(result)["lora_rank"] == 32 and train(result)["model_name_or_path"] == MODEL


def test_a_backslash_of_windows_is_a_path(root: Path) -> None:
    write_tree(root, {"conf/own.yaml": f"{CONFIG}lora_rank: 32\n"})
    assert train(imported(root, "run.bat", "llamafactory-cli train conf\\own.yaml\n"))["lora_rank"] == 32


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.bat", "set RANK=8\nif defined BIG (\n  set RANK=32\n)\nlmf train lora.yaml lora_rank=%RANK%\n"),
        ("run.bat", "set RANK=8\nif defined BIG set RANK=32\nlmf train lora.yaml lora_rank=%RANK%\n"),
        ("run.ps1", "$RANK = 8\nif ($BIG) {\n  $RANK = 32\n}\nlmf train lora.yaml lora_rank=$RANK\n"),
    ],
)
def test_what_windows_sets_under_a_condition_is_not_known(root: Path, name: str, text: str) -> None:
    (error,) = imported(root, name, text).errors
    assert "`RANK` is set only under a condition" in error.message


# ── LLaMA Board ────────────────────────────────────────────────────────────────────────────────────────

BOARD: dict[str, Any] = {
    "top.model_name": "Qwen2.5-1.5B-Instruct",
    "top.finetuning_type": "lora",
    "top.checkpoint_path": [],
    "top.quantization_bit": "none",
    "top.quantization_method": "bnb",
    "top.template": "qwen",
    "top.rope_scaling": "none",
    "top.booster": "auto",
    "train.training_stage": "Supervised Fine-Tuning",
    "train.dataset_dir": "data",
    "train.dataset": ["answers"],
    "train.learning_rate": "3e-4",
    "train.num_train_epochs": "3.0",
    "train.max_samples": "100000",
    "train.compute_type": "bf16",
    "train.cutoff_len": 2048,
    "train.batch_size": 2,
    "train.val_size": 0,
    "train.save_steps": 100,
    "train.neftune_alpha": 0,
    "train.extra_args": '{"optim": "adamw_torch"}',
    "train.packing": False,
    "train.lora_rank": 32,
    "train.lora_target": "",
    "train.use_galore": False,
    "train.galore_rank": 16,
    "train.image_max_pixels": "512*512",
    "train.ds_stage": "none",
    "train.ds_offload": False,
}


def board(root: Path, **changes: Any) -> Imported:
    fields = BOARD | {name.replace("__", "."): value for name, value in changes.items()}
    return imported(root, "llamaboard_config.yaml", yaml.safe_dump(fields))


def test_the_fields_of_llama_board_are_the_arguments_it_trains_with(root: Path) -> None:
    result = board(root)
    found = train(result)
    assert result.kind == "a config that LLaMA Board saved"
    assert (
        found["model_name_or_path"] == MODEL and found["lora_rank"] == 32 and found["learning_rate"] == 3e-4
    )
    assert found["trust_remote_code"] is True and found["bf16"] is True and "galore_rank" not in found
    assert "train.galore_rank, train.image_max_pixels: left out" in said(result)


@pytest.mark.parametrize(
    ("changes", "becomes"),
    [
        ({"train__training_stage": "DPO", "train__pref_loss": "ipo"}, {"stage": "dpo", "pref_loss": "ipo"}),
        ({"top__booster": "flashattn2"}, {"flash_attn": "fa2"}),
        ({"top__booster": "liger_kernel"}, {"enable_liger_kernel": True}),
        ({"top__quantization_bit": "4"}, {"quantization_bit": 4}),
        ({"train__val_size": 0.1}, {"val_size": 0.1, "eval_strategy": "steps", "eval_steps": 100}),
        ({"train__use_galore": True}, {"use_galore": True}),
        ({"train__extra_args": '{"seed": 7}'}, {"seed": 7}),
        ({"train__compute_type": "pure_bf16"}, {"pure_bf16": True}),
        ({"train__neat_packing": True}, {"packing": True, "neat_packing": True}),
        (
            {"top__model_name": "Qwen2-VL-2B-Instruct", "train__freeze_vision_tower": False},
            {"image_max_pixels": 262144, "freeze_vision_tower": False},
        ),
        (
            {"top__checkpoint_path": ["one"], "top__model_name": "Llama-3-8B-Instruct"},
            {
                "model_name_or_path": "meta-llama/Meta-Llama-3-8B-Instruct",
                "adapter_name_or_path": "saves/Llama-3-8B-Instruct/lora/one",
            },
        ),
    ],
)
def test_a_field_of_llama_board_means_what_it_makes_of_it(
    root: Path, changes: Mapping[str, Any], becomes: Mapping[str, Any]
) -> None:
    found = train(board(root, **changes))
    assert {key: found.get(key) for key in becomes} == becomes


def test_llama_boards_zero_is_the_stage_and_the_offload(root: Path) -> None:
    result = board(root, train__ds_stage="3", train__ds_offload=True)
    zero = yaml.safe_load(result.text)["zero"]
    assert zero["stage"] == 3 and zero["offload_param"]["device"] == "cpu"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"top__model_name": "Custom"}, "top.model_name"),
        ({"train__extra_args": "{"}, "train.extra_args"),
        ({"train__shiny": 1}, "train.shiny"),
    ],
)
def test_a_field_that_says_nothing_here_is_an_error(root: Path, changes: Mapping[str, Any], key: str) -> None:
    assert [error.key for error in board(root, **changes).errors] == [key]


def test_every_field_of_llama_boards_page_is_known(root: Path) -> None:
    table = yaml.safe_load((Path(read_import.__code__.co_filename).parent / "board.yaml").read_text("utf-8"))
    fields = {field for block in table["fields"] for field in block["keys"]} | {*table["multimodal"]}
    result = board(root, **{field.replace(".", "__"): None for field in sorted(fields - BOARD.keys())})
    assert result.errors == ()


# ── what trains nothing ────────────────────────────────────────────────────────────────────────────────

LOADED = f"model_name_or_path: {MODEL}\nadapter_name_or_path: saves/a\ntemplate: qwen\n"
EXPORT = f"{LOADED}export_dir: out/m\nexport_size: 2\n"


@pytest.mark.parametrize(
    ("text", "kind", "command"),
    [
        (EXPORT, "an export config (`export_dir`)", "qtune export RUN -o out/m -s export_size=2"),
        (
            f"model_name_or_path: {MODEL}\nexport_dir: out\nexport_quantization_bit: 4\n"
            "export_quantization_dataset: data/c4.jsonl\ntemplate: qwen\n",
            "an export config",
            "-s export_quantization_bit=4 -s export_quantization_dataset=data/c4.jsonl",
        ),
        (
            f"{LOADED}infer_backend: vllm\n",
            "a chat config (`infer_backend`)",
            "qtune chat RUN --infer-backend vllm",
        ),
        (
            f"model_name_or_path: {MODEL}\ntemplate: qwen\nfinetuning_type: lora\ntemperature: 0.5\n",
            "a chat config (`template`)",
            "qtune chat RUN -s temperature=0.5",
        ),
        (
            f"model_name_or_path: {MODEL}\nstage: sft\ndo_predict: true\neval_dataset: a,b\ntemplate: qwen\n"
            "max_samples: 50\npredict_with_generate: true\nmax_new_tokens: 64\n",
            "an evaluation config (`do_predict`)",
            "qtune eval RUN -d a,b --max-samples 50 -s max_new_tokens=64",
        ),
        (
            f"model_name_or_path: {MODEL}\ndo_eval: true\neval_dataset: a\ntemplate: qwen\nstage: sft\n",
            "an evaluation config (`do_eval`)",
            "qtune eval RUN -d a --loss-only",
        ),
        (
            f"{LOADED}task: mmlu_test\nn_shot: 5\n",
            "a benchmark's config (`task`)",
            "qtune eval RUN --harness mmlu",
        ),
        (
            "model: a/b\npeft_config:\n  name: lora\n  adapter_name_or_path: a\n  export_dir: out\n",
            "an export config",
            "qtune export RUN -o out",
        ),
    ],
)
def test_a_config_that_trains_nothing_is_told_its_command(
    qtune: Qtune, root: Path, text: str, kind: str, command: str
) -> None:
    write_tree(root, {"use.yaml": text})
    before = files_below(root)
    result = qtune("import", "use.yaml", "-n", "ours", directory=root)
    assert result.code == 2 and result.out == "" and files_below(root) == before
    assert f"is {kind}" in result.err and "trains nothing" in result.err and command in result.err


def test_what_llama_board_writes_beside_its_outputs_is_a_config(root: Path) -> None:
    assert imported(root, "saves/x/training_args.yaml", CONFIG).kind == "a LLaMA-Factory config"


def test_a_training_that_predicts_too_stays_one(root: Path) -> None:
    assert (
        train(imported(root, "t.yaml", f"{CONFIG}do_predict: true\neval_dataset: answers\n"))["do_predict"]
        is True
    )


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("llamafactory-cli export use.yaml", "is an export config"),
        (f"lmf export --model_name_or_path {MODEL} --export_dir out/m", "qtune export RUN -o out/m"),
        ("API_PORT=8000 llamafactory-cli api nowhere.yaml", "then `qtune api RUN`"),
    ],
)
def test_a_script_that_trains_nothing_is_told_its_command(root: Path, command: str, says: str) -> None:
    write_tree(root, {"use.yaml": EXPORT})
    assert says in str(refused(root, "use.sh", f"#!/bin/bash\n{command}\n"))


@pytest.mark.parametrize(
    ("name", "keys", "what"),
    [
        (
            "adapter_config.json",
            {"peft_type": "LORA", "base_model_name_or_path": MODEL, "r": 8, "target_modules": ["q_proj"]},
            f"the config of an adapter, which PEFT writes beside it (base_model_name_or_path: {MODEL}",
        ),
        ("trainer_state.json", {"global_step": 3, "log_history": []}, "the state of a training"),
        (
            "config.json",
            {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
            "a model's config.json",
        ),
        ("user_config.yaml", {"last_model": "x", "path_dict": {}}, "what LLaMA Board remembers"),
    ],
)
def test_what_a_training_writes_is_told_what_it_is(
    root: Path, name: str, keys: Mapping[str, Any], what: str
) -> None:
    error = refused(root, name, json.dumps(keys))
    assert f"is {what}" in error.what and "started the training" in str(error.fix)
    write_tree(root, {"training_args.yaml": CONFIG})
    assert "import training_args.yaml, which lies beside it" in str(refused(root, name, json.dumps(keys)).fix)


# ── LLaMA-Factory's v1 ─────────────────────────────────────────────────────────────────────────────────

V1 = """\
model: Qwen/Qwen3-0.6B
model_class: llm
peft_config:
  name: lora
  r: 16
  target_modules: [q_proj, v_proj]
train_dataset: data/v1.yaml
output_dir: out
micro_batch_size: 3
learning_rate: 3.0e-4
"""


def test_a_config_of_v1_is_called_that_and_translated(root: Path) -> None:
    entries = {"answers_two": {"path": "data/two.json", "source": "local", "converter": "alpaca", "size": 5}}
    write_tree(root, {"data/v1.yaml": yaml.safe_dump(entries), "data/two.json": TREE["data/answers.json"]})
    result = imported(root, "v1.yaml", V1)
    found = train(result)
    assert result.kind == "a LLaMA-Factory v1 config" and result.coverage is not None
    assert result.coverage.missing == 0
    wanted = {"model_name_or_path": "Qwen/Qwen3-0.6B", "lora_rank": 16, "lora_target": "q_proj,v_proj"}
    wanted |= {"per_device_train_batch_size": 3, "learning_rate": 3e-4, "lr_scheduler_type": "constant"}
    assert {key: found[key] for key in wanted} == wanted and found["dataset"] == "two"
    assert result.datasets["two"] == {"file_name": "two.json", "num_samples": 5}


def test_without_peft_v1_trains_the_whole_model(root: Path) -> None:
    text = "model: a/b\nmodel_class: llm\ntrain_dataset: answers\nkernel_config: {name: liger_kernel}\n"
    found = train(imported(root, "v1.yaml", text))
    assert found["finetuning_type"] == "full" and found["enable_liger_kernel"] is True


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("dist_config: {name: fsdp2}", "dist_config.name"),
        ("batching_strategy: padding_free", "batching_strategy"),
        ("global_batch_size: 64", "global_batch_size"),
        ("resume_from_checkpoint: auto", "resume_from_checkpoint"),
        ("optim_config: {name: muon, momentum: 0.9}", "optim_config.momentum"),
        ("cp_size: 2", "cp_size"),
        ("shiny: 1", "shiny"),
    ],
)
def test_what_only_v1_has_is_one_warning(root: Path, line: str, key: str) -> None:
    result = imported(root, "v1.yaml", f"{V1.replace('data/v1.yaml', 'answers')}{line}\n")
    assert [finding.key for finding in result.findings] == [key] and result.errors == ()


def test_v1s_deepspeed_file_is_the_zero_block(root: Path) -> None:
    text = V1 + "dist_config: {name: deepspeed, config_file: examples/deepspeed/ds_z3_config.json}\n"
    result = imported(root, "v1.yaml", text.replace("data/v1.yaml", "answers"))
    assert yaml.safe_load(result.text)["zero"]["stage"] == 3


@pytest.mark.parametrize(
    "command",
    ["USE_V1=1 llamafactory-cli train v1.yaml learning_rate=0.5", "lmf sft v1.yaml --learning_rate 0.5"],
)
def test_a_command_of_v1_is_its_config_and_its_options(root: Path, command: str) -> None:
    write_tree(root, {"v1.yaml": V1.replace("data/v1.yaml", "answers")})
    result = imported(root, "run.sh", f"#!/bin/bash\n{command}\n")
    found = train(result)
    assert found["lora_rank"] == 16 and found["learning_rate"] == 0.5 and "LLaMA-Factory v1" in result.kind
