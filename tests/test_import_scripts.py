"""`qtune import` of scripts as people have them: Slurm, containers, here-documents, accelerate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import Result, write_tree

from qtune.config.project import find_project
from qtune.errors import QtuneError
from qtune.importing.read import Imported, read_import
from qtune.importing.scripts.shell import commands
from qtune.importing.scripts.wrappers import unwrapped

Qtune = Callable[..., Result]

CONFIG = """\
model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct
stage: sft
do_train: true
dataset: answers
template: qwen
learning_rate: 3.0e-5
output_dir: saves/a
"""
FSDP_1 = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
downcast_bf16: 'no'
fsdp_config:
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_backward_prefetch: BACKWARD_POST
  fsdp_offload_params: true
  fsdp_sharding_strategy: SHARD_GRAD_OP
  fsdp_state_dict_type: SHARDED_STATE_DICT
machine_rank: 0
mixed_precision: fp16
num_machines: 1
num_processes: 4
tpu_env: []
"""
DEEPSPEED = """\
compute_environment: LOCAL_MACHINE
distributed_type: DEEPSPEED
deepspeed_config:
  gradient_accumulation_steps: 4
  offload_optimizer_device: cpu
  offload_param_device: none
  zero3_init_flag: true
  zero3_save_16bit_model: true
  zero_stage: 3
num_machines: 2
num_processes: 16
main_process_ip: 10.0.0.1
main_process_port: 29500
"""
START = "llamafactory-cli train run.yaml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(
        tmp_path,
        {
            "qtune.yaml": "presets: [presets]\n",
            "presets/.keep": "",
            "run.yaml": CONFIG,
            "other.yaml": CONFIG.replace("answers", "others"),
            "data/dataset_info.json": {"answers": {"file_name": "answers.json"}},
            "data/answers.json": [{"instruction": "who?", "input": "", "output": "me"}],
        },
    )


def imported(root: Path, text: str, name: str = "run.sh") -> Imported:
    write_tree(root, {name: text})
    return read_import(root / name, root, find_project(root))


def preset(result: Imported) -> dict[str, Any]:
    assert result.errors == (), [str(error) for error in result.errors]
    return yaml.safe_load(result.text)


def launch(root: Path, text: str) -> dict[str, Any]:
    return preset(imported(root, text)).get("launch", {})


def said(result: Imported) -> list[str]:
    return [str(note) for note in result.notes] + [str(finding) for finding in result.findings]


# ── Slurm ──────────────────────────────────────────────────────────────────────────────────────────────

JOB = """\
#!/bin/bash -l
#SBATCH -J adapters -o logs/%j.out --error logs/%j.err
#SBATCH -N 2              # two of them
#SBATCH --gpus-per-node=h100:4
#SBATCH --cpus-per-task 16
#SBATCH -t 2-12:00:00 -A group7 --qos=long
#SBATCH --mem=0 --exclusive
#SBATCH --mail-type=END,FAIL
#SBATCH -x node[07-08]
#SBATCH --comment="second try"

module purge
module load cuda/12.4
source ~/venv/bin/activate
export NCCL_DEBUG=WARN HF_HOME=/scratch/hub
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_PORT=$((20000 + RANDOM % 1000))
srun -l torchrun --nnodes=$SLURM_NNODES --nproc_per_node $SLURM_GPUS_ON_NODE --rdzv_id $SLURM_JOB_ID \\
  --rdzv_endpoint=$MASTER_ADDR:$MASTER_PORT --node_rank $SLURM_NODEID src/train.py run.yaml
"""


def test_a_jobs_header_becomes_launch_slurm(root: Path) -> None:
    result = imported(root, JOB, "job.sbatch")
    assert preset(result)["launch"] == {
        "launcher": "slurm",
        "nnodes": 2,
        "nproc_per_node": 4,
        "slurm": {
            "job-name": "adapters",
            "cpus-per-task": 16,
            "time": "2-12:00:00",
            "account": "group7",
            "qos": "long",
            "mem": 0,
            "exclusive": True,
            "mail-type": "END,FAIL",
            "exclude": "node[07-08]",
            "comment": "second try",
            "gpus-per-node": "h100:4",
        },
    }
    notes = "\n".join(said(result))
    for words in (
        "output, error: left out",
        "label: left out: qtune's own srun",
        "module purge, module load cuda/12.4, source ~/venv/bin/activate",
        "HF_HOME, NCCL_DEBUG: are no part of a preset",
        "rdzv_id, rdzv_endpoint, master_addr, master_port: left out: Slurm gives",
        "node_rank: left out",
    ):
        assert words in notes, notes
    assert result.findings == ()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("--gres=gpu:2", {"nproc_per_node": 2, "slurm": {"gres": "gpu:2"}}),
        ("--gres=gpu:a100:2,tmp:1", {"nproc_per_node": 2, "slurm": {"gres": "gpu:a100:2,tmp:1"}}),
        ("--gpus-per-node=8", {"nproc_per_node": 8}),
        ("-G 16 --nodes=2", {"nnodes": 2, "nproc_per_node": 8}),
        ("--gpus=l40s:4 -N1", {"nproc_per_node": 4, "slurm": {"gpus-per-node": "l40s:4"}}),
        ("--gpus-per-task=1 --ntasks-per-node=4", {"nproc_per_node": 4}),
        ("--ntasks=8 --nodes=2 --gpus-per-task=1", {"nnodes": 2, "nproc_per_node": 4}),
        ("-N2 -n16 -c4", {"nnodes": 2, "nproc_per_node": 8, "slurm": {"cpus-per-task": 32}}),
        ("-p gpu --time=90", {"slurm": {"partition": "gpu", "time": "90"}}),
        ("-C 'a100&nvlink' --begin=22:00", {"slurm": {"constraint": "a100&nvlink", "begin": "22:00"}}),
        ("--requeue --wait --signal=B:USR1@60", {}),
    ],
)
def test_every_way_to_ask_for_gpus(root: Path, header: str, expected: dict[str, Any]) -> None:
    text = f"#!/bin/sh\n#SBATCH {header}\nsrun {START}\n"
    assert launch(root, text) == {"launcher": "slurm", **expected}
    assert launch(root, f"sbatch {header} --wrap 'srun {START}'\n") == {"launcher": "slurm", **expected}
    assert launch(root, f"sbatch {header} <<'EOF'\n#!/bin/sh\n{START}\nEOF\n") == {
        "launcher": "slurm",
        **expected,
    }


@pytest.mark.parametrize(
    ("header", "finding"),
    [
        ("--array=0-3", "array: 0-3: one job carries out one run"),
        ("--dependency=afterok:77", "dependency: afterok:77 names a job"),
        ("--export=ALL,NAME=value", "export: holds values of variables, which are not copied"),
        ("--nodes=2-4", "nodes: from 2 to 4: launch.nnodes is 2"),
        ("--container-image=a/b", "container-image: a/b: qtune starts in the environment"),
    ],
)
def test_what_launch_slurm_cannot_hold_is_one_finding(root: Path, header: str, finding: str) -> None:
    result = imported(root, f"#!/bin/sh\n#SBATCH {header}\nsrun {START}\n")
    assert len(result.findings) == 1 and finding in str(result.findings[0])
    assert preset(result)["launch"]["launcher"] == "slurm"
    assert "value" not in result.text


def test_headers_that_sbatch_does_not_read_are_said(root: Path) -> None:
    text = (
        f"#!/bin/bash\n#PBS -l select=1\n#PBS -q gpu\n##SBATCH --nodes=8\nset -e\n#SBATCH -p gpu\n{START}\n"
    )
    findings = [str(finding) for finding in imported(root, text).findings]
    assert len(findings) == 2
    assert "stands after the first command (line 6)" in findings[0]
    assert "asks another scheduler (line 2, 3)" in findings[1]


def test_a_job_of_several_nodes_that_starts_on_one_is_warned_of(root: Path) -> None:
    for start, warnings in ((START, 1), (f"srun {START}", 0), (f"NNODES=2 {START}", 0)):
        result = imported(root, f"#!/bin/sh\n#SBATCH -N2 -G8\n{start}\n")
        assert preset(result)["launch"]["nnodes"] == 2
        assert len(result.findings) == warnings
    assert launch(root, f"srun {START}\n") == {"launcher": "slurm"}


def test_options_of_a_step_and_of_the_command_line_win(root: Path) -> None:
    text = f"#!/bin/sh\n#SBATCH -N 4 --gres=gpu:8\nsrun -N 2 --gpus-per-node 4 bash -c '{START}'\n"
    assert launch(root, text)["nnodes"] == 2
    assert launch(root, text)["nproc_per_node"] == 4
    nodes = f"srun -N2 -p gpu bash -c 'NNODES=2 MASTER_ADDR=10.0.0.1 MASTER_PORT=29500 {START}'\n"
    assert launch(root, nodes) == {
        "launcher": "slurm",
        "nnodes": 2,
        "master_addr": "10.0.0.1",
        "master_port": 29500,
        "slurm": {"partition": "gpu"},
    }


# ── holes ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "count",
    [
        "$(nvidia-smi -L | wc -l)",
        "`nvidia-smi --list-gpus | wc -l`",
        "$(nvidia-smi --query-gpu=name --format=csv,noheader | wc -l)",
        '$(python -c "import torch; print(torch.cuda.device_count())")',
        "$(echo $CUDA_VISIBLE_DEVICES | tr ',' '\\n' | wc -l)",
        "$(echo $CUDA_VISIBLE_DEVICES | awk -F, '{print NF}')",
        "${GPUS:-$(nvidia-smi -L | wc -l)}",
        "$SLURM_GPUS_ON_NODE",
    ],
)
def test_a_count_of_gpus_means_all_of_them(root: Path, count: str) -> None:
    for text in (
        f"N={count}\ntorchrun --nproc_per_node $N src/train.py run.yaml\n",
        f"torchrun --nproc-per-node={count} src/train.py run.yaml\n",
        f"export NPROC_PER_NODE={count}\nFORCE_TORCHRUN=1 {START}\n",
        f"accelerate launch --num_processes {count} src/train.py run.yaml\n",
    ):
        result = imported(root, text)
        assert "launch" not in preset(result)
        notes = [note for note in said(result) if "nproc_per_node" in note]
        assert len(notes) == 1 and "left out: as many as there are GPUs, as qtune does" in notes[0]


def test_a_count_of_devices_that_the_script_names_is_their_number(root: Path) -> None:
    text = (
        "export CUDA_VISIBLE_DEVICES=4,5,6\n"
        "IFS=',' read -ra IDS <<< \"$CUDA_VISIBLE_DEVICES\"\n"
        "torchrun --nproc_per_node {} src/train.py run.yaml\n"
    )
    for count in (
        "${#IDS[@]}",
        "$(echo $CUDA_VISIBLE_DEVICES | tr ',' '\\n' | wc -l)",
        "$(nvidia-smi -L | wc -l)",
    ):
        assert launch(root, text.replace("{}", count)) == {"nproc_per_node": 3}


def test_a_hole_in_a_list_of_options_is_that_options_alone(root: Path) -> None:
    text = (
        "N=$(nvidia-smi -L | wc -l)\n"
        'OPTIONS="\n    --nproc_per_node $N \\\n    --nnodes ${NNODES:-1} --node_rank $RANK\n"\n'
        "torchrun $OPTIONS src/train.py run.yaml learning_rate=$LR\n"
    )
    result = imported(root, text)
    assert [str(error).splitlines()[0] for error in result.errors] == [
        "run.sh:6 learning_rate: `LR` is not set in the script"
    ]
    assert any("nproc_per_node: left out: as many as there are GPUs" in note for note in said(result))


def test_a_count_of_gpus_is_a_hole_in_an_argument(root: Path) -> None:
    text = f"N=$(nvidia-smi -L | wc -l)\n{START} dataloader_num_workers=$N\n"
    assert len(imported(root, text).errors) == 1


def test_one_hole_is_one_error(root: Path) -> None:
    text = f"{START} lora_rank=$R lora_alpha=$R warmup_steps=$W\n"
    errors = [str(error) for error in imported(root, text).errors]
    assert len(errors) == 2
    assert "run.sh:1 lora_rank, lora_alpha: `R` is not set in the script" in errors[0]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("B=4\na $((64 / B / 8)) $(( (B + 1) * 2 ))", ["a", "2", "10"]),
        ("A=(x y z)\na ${#A[@]}", ["a", "3"]),
        ("a ${1:-x.yaml} ${NODES:-1}", ["a", "x.yaml", "1"]),
        ('f() {\n  a "$1" $2 "$@"\n}\nf x y', ["a", "x", "y", "x", "y"]),
        ("function f {\n  a\n}\nf", ["a"]),
        ("f() { a b; }\nf", ["a", "b"]),
        ("C='a \"b c\"'\neval $C", ["a", "b c"]),
        ("if false; then\n  b\nfi\na", ["a"]),
        ("for x in 'b c'; do a $x \"$x\"; done", ["a", "b", "c", "b c"]),
        (
            'D=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)\na $D/b $(pwd)/c $HOME/d',
            ["a", "./b", "./c", "~/d"],
        ),
        ('D=$(cd $(dirname $0)/.. && pwd)\na "$D/b"', ["a", "./../b"]),
        ("a b &> 'log file' < in 2>>errors", ["a", "b"]),
        ("IFS= read -r X <<< 'b c'\na \"$X\"", ["a", "b c"]),
    ],
)
def test_what_a_shell_would_make_of_it(script: str, words: list[str]) -> None:
    (command,) = commands(script)
    assert [word.text for word in command.words] == words
    assert not any(word.hole for word in command.words)


def test_scripts_that_grow_without_end_are_read_to_a_bound() -> None:
    assert len(commands("f() { a; f; }\nf")) < 20
    assert len(commands("f() { a; f; f; f; f; f; f; f; f; f; f; f; f; }\nf")) < 10_000
    numbers = " ".join(str(number) for number in range(30))
    loops = "".join(f"for x{depth} in {numbers}; do " for depth in range(3))
    assert len(commands(f"{loops}a {'; done' * 3}")) < 10_000
    doubled = "\n".join(f"A{number + 1}=$A{number}$A{number}" for number in range(40))
    (command,) = commands(f"A0=abcdefgh\n{doubled}\na $A40")
    assert len(command.words[1].text) < 1_000_000 and command.words[1].hole


# ── what is around a command ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "nohup {} > log 2>&1 &",
        "timeout -k 10 2h {}",
        "time nice -n 5 numactl --cpunodebind=0 -m 0 {}",
        "env -u X {}",
        "sudo -E -u me {}",
        "uv run --extra gpu {}",
        "poetry run {}",
        "conda run --no-capture-output -n tuning {}",
        "stdbuf -oL {} | tee log",
        "exec {}",
        "bash -c '{}'",
        'sh -ec "cd . && {}"',
        "bash -lc 'set -e; {}'",
        "bash <<EOF\n{}\nEOF",
        "ssh -p 22 host 'cd x; {}'",
        "ssh host bash -s <<'EOF'\n{}\nEOF",
        "tmux new-session -d -s t '{}'",
        "singularity exec --nv -B /data:/data image.sif {}",
        "podman run -it --rm -v/data:/data image {}",
        "docker compose exec -T trainer bash -c '{}'",
        "docker run --entrypoint llamafactory-cli image train run.yaml",
        "kubectl exec -it pod -- {}",
        "go() {\n  {}\n}\ngo",
        'C="{}"\n$C',
        'C="{}"\neval "$C"',
        "if true; then\n  {}\nfi",
        "python -m llamafactory.cli train run.yaml",
    ],
)
def test_a_command_is_found_inside_others(root: Path, around: str) -> None:
    result = imported(root, around.replace("{}", START) + "\n")
    assert preset(result)["train"]["learning_rate"] == 3e-5
    assert "launch" not in preset(result)


@pytest.mark.parametrize(
    "line",
    [
        "echo {}",
        "printf '%s\\n' {}",
        'echo "next: {}"',
        "# {}",
        "which llamafactory-cli train",
        "if false; then {}; fi",
        ": <<'END'\n{}\nEND",
        "cat <<END\n{}\nEND",
        "llamafactory-cli train -h",
        "never() { {}; }",
    ],
)
def test_what_only_names_a_command_starts_nothing(root: Path, line: str) -> None:
    text = line.replace("{}", "llamafactory-cli train other.yaml")
    with pytest.raises(QtuneError, match="is not a training config"):
        imported(root, f"{text}\n", "nothing.sh")
    assert preset(imported(root, f"{text}\n{START}\n"))["train"]["learning_rate"] == 3e-5


def test_containers_say_their_gpus_image_and_mounts(root: Path) -> None:
    text = (
        "docker run --rm -it --gpus '\"device=0,3\"' --shm-size=32g -e WANDB_MODE=offline "
        "-v $(pwd):/w -v /models:/models:ro --mount type=bind,source=/cache,target=/home/a/.cache "
        "-w /w tuner:1 bash -c 'llamafactory-cli train /w/run.yaml'\n"
    )
    result = imported(root, text)
    assert preset(result)["launch"] == {"nproc_per_node": 2}
    notes = "\n".join(said(result))
    assert (
        "docker run tuner:1, . as /w, /models as /models, /cache as /home/a/.cache, --shm-size 32g, -w /w: "
        "no part of a preset"
    ) in notes
    assert "WANDB_MODE: is no part of a preset" in notes and "offline" not in notes
    assert "launch" not in preset(imported(root, f"docker run --gpus all image {START}\n"))
    assert launch(root, f"docker run --gpus 4 image {START}\n") == {"nproc_per_node": 4}
    assert launch(root, f"docker run -e NVIDIA_VISIBLE_DEVICES=1,2 image {START}\n") == {"nproc_per_node": 2}


def test_processes_of_mpi_are_torchruns(root: Path) -> None:
    text = "mpirun -np 4 --mca btl tcp -x KEY=value python src/train.py run.yaml\n"
    assert launch(root, text) == {"nproc_per_node": 4}
    assert not any("value" in note for note in said(imported(root, text)))


def test_prefixes_and_hosts_are_said_once(root: Path) -> None:
    notes = said(imported(root, f"ssh me@host 'timeout 3h uv run {START}'\n"))
    assert (
        "run.sh:1: `timeout 3h`, `uv run` left out: put it before `qtune train`, where you need it" in notes
    )
    assert "run.sh:1: ssh me@host: no part of a preset: start `qtune train` on that machine" in notes


def test_variables_reach_the_command_inside() -> None:
    (inside,) = unwrapped(commands("A=1 env B=2 docker run -e C=3 image bash -c 'D=4 run $A$B'")[0])
    assert [word.text for word in inside.command.words] == ["run", "12"]
    assert {**inside.command.exported, **inside.command.assigned}.keys() == {"A", "B", "C", "D"}


def test_every_start_is_named(root: Path) -> None:
    with pytest.raises(QtuneError, match=r"2 times \(line 1 with run.yaml; line 1 with other.yaml\)"):
        imported(root, "for f in run.yaml other.yaml; do llamafactory-cli train $f; done\n")
    with pytest.raises(QtuneError, match=r"2 times \(line 2 with run.yaml; line 2 with other.yaml\)"):
        imported(root, "go() {\n  llamafactory-cli train $1\n}\ngo run.yaml\ngo other.yaml\n")
    assert preset(imported(root, "for f in run.yaml; do\n  llamafactory-cli train $f\ndone\n"))


def test_a_script_that_starts_another_names_that_one(root: Path) -> None:
    write_tree(root, {"inner.sh": f"{START}\n"})
    for line in ("bash inner.sh", "sbatch -p gpu inner.sh", "./inner.sh"):
        with pytest.raises(QtuneError, match=r"starts (\./)?inner\.sh, and no training itself"):
            imported(root, f"python prepare.py\n{line}\n", "outer.sh")


# ── files that the script writes ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "writing",
    [
        "cat > made/run.yaml <<EOF\n{}EOF\n",
        "cat <<'EOF' > ./made/run.yaml\n{}EOF\n",
        "cat << EOF | tee made/run.yaml\n{}EOF\n",
        'tee made/run.yaml <<"EOF" > /dev/null\n{}EOF\n',
    ],
)
def test_a_config_that_the_script_writes_is_read(root: Path, writing: str) -> None:
    config = CONFIG.replace("output_dir", "lora_alpha: 64  # it's ours\noutput_dir")
    text = (
        "mkdir -p made\n"
        + writing.replace("{}", config)
        + "llamafactory-cli train made/run.yaml lora_rank=4\n"
    )
    result = imported(root, text)
    assert preset(result)["train"]["lora_alpha"] == 64
    assert any("run.sh:10 output_dir" in note for note in said(result))
    assert any("left out: mkdir" in note and "cat" not in note for note in said(result))


def test_the_scripts_own_file_comes_before_the_disks(root: Path) -> None:
    indented = CONFIG.replace("3.0e-5", "7.0e-6").replace("\n", "\n\t")
    text = f"cat > run.yaml <<-EOF\n\t{indented}EOF\n{START}\n"
    assert preset(imported(root, text))["train"]["learning_rate"] == 7e-6


def test_variables_of_a_here_document_are_put_in(root: Path) -> None:
    text = "LR=2e-4\ncat > new.yaml <<EOF\n" + CONFIG.replace("3.0e-5", "${LR}").replace(
        "saves/a", "$(date +%F)"
    )
    result = imported(root, f"{text}EOF\nllamafactory-cli train new.yaml\n")
    assert preset(result)["train"]["learning_rate"] == 2e-4
    errors = imported(root, f"{text.replace('LR=2e-4', '')}EOF\nllamafactory-cli train new.yaml\n").errors
    assert [str(error).splitlines()[0] for error in errors] == [
        "run.sh:8 learning_rate: `LR` is not set in the script"
    ]


def test_deepspeeds_and_accelerates_files_may_be_written_too(root: Path) -> None:
    text = (
        'cat > ds.json <<EOF\n{"zero_optimization": {"stage": 2}, "gradient_clipping": "auto"}\nEOF\n'
        "cat > multi.yaml <<EOF\ndistributed_type: MULTI_GPU\nnum_processes: 2\nEOF\n"
        "accelerate launch --config_file multi.yaml src/train.py run.yaml --deepspeed ds.json\n"
    )
    result = preset(imported(root, text))
    assert result["zero"] == {"stage": 2} and result["launch"] == {"nproc_per_node": 2}


def test_lines_that_are_echoed_are_read_and_edits_are_warned_of(root: Path) -> None:
    lines = "\n".join(f"echo '{line}' >> new.yaml" for line in CONFIG.splitlines())
    text = f"{lines}\nsed -i s/qwen/llama3/ new.yaml\nllamafactory-cli train new.yaml\n"
    result = imported(root, text)
    assert preset(result)["train"]["learning_rate"] == 3e-5
    assert "run.sh:8: sed changes new.yaml, which is read as it is" in str(result.findings[0])


def test_a_broken_here_document_says_its_line(root: Path) -> None:
    with pytest.raises(QtuneError):
        imported(root, "cat > new.yaml <<EOF\na: [\nEOF\nllamafactory-cli train new.yaml\n")


# ── accelerate ─────────────────────────────────────────────────────────────────────────────────────────

SETTINGS_1 = {
    "fsdp_version": 1,
    "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "fsdp_backward_prefetch": "BACKWARD_POST",
    "fsdp_offload_params": True,
    "fsdp_sharding_strategy": "SHARD_GRAD_OP",
    "fsdp_state_dict_type": "SHARDED_STATE_DICT",
    "fsdp_use_orig_params": True,
}


def test_accelerates_file_alone_is_a_partial_preset(root: Path) -> None:
    result = imported(root, FSDP_1, "fsdp.yaml")
    assert result.kind == "an accelerate config"
    assert preset(result) == {
        "about": "imported from fsdp.yaml",
        "train": {"bf16": False, "fp16": True, "fsdp_config": SETTINGS_1},
        "launch": {"nproc_per_node": 4, "launcher": "accelerate"},
    }
    notes = "\n".join(said(result))
    assert "compute_environment, downcast_bf16, machine_rank, tpu_env: left out" in notes


def test_accelerates_file_of_a_command_beside_the_trainings_own_words(root: Path) -> None:
    write_tree(root, {"fsdp.yaml": FSDP_1})
    text = "accelerate launch --config_file fsdp.yaml --num_processes 8 src/train.py run.yaml bf16=true\n"
    result = imported(root, text)
    assert preset(result)["launch"] == {"nproc_per_node": 8, "launcher": "accelerate"}
    train = preset(result)["train"]
    assert train["fsdp_config"] == SETTINGS_1 and train["bf16"] is True and train["fp16"] is None
    assert any("mixed_precision: left out: bf16 of the training wins" in note for note in said(result))


def test_the_settings_are_rendered_for_accelerate(qtune: Qtune, root: Path) -> None:
    text = "accelerate launch --config_file fsdp.yaml src/train.py run.yaml\n"
    write_tree(root, {"fsdp.yaml": FSDP_1, "run.sh": text})
    assert qtune("import", "run.sh", "-n", "ours", directory=root).code == 0
    result = qtune("render", "ours", "--hardware", "4x24GB", directory=root)
    assert result.code == 0, result.err
    rendered = yaml.safe_load((root / "rendered/ours/accelerate.yaml").read_text())
    assert rendered["distributed_type"] == "FSDP" and rendered["mixed_precision"] == "fp16"
    assert SETTINGS_1.items() <= rendered["fsdp_config"].items()
    assert "fsdp_reshard_after_forward" not in rendered["fsdp_config"]


@pytest.mark.parametrize(
    ("flags", "train", "launched"),
    [
        ("--multi_gpu --num_processes 2", {}, {"nproc_per_node": 2}),
        (
            "--use_fsdp --fsdp_version 2 --fsdp_reshard_after_forward false --num_processes 2",
            {
                "fsdp_config": {
                    "fsdp_version": 2,
                    "fsdp_auto_wrap_policy": "NO_WRAP",
                    "fsdp_state_dict_type": "SHARDED_STATE_DICT",
                    "fsdp_reshard_after_forward": False,
                }
            },
            {"nproc_per_node": 2, "launcher": "accelerate"},
        ),
        (
            "--num_processes=1 --mixed_precision=bf16 --dynamo_backend=inductor",
            {"bf16": True, "torch_compile": True, "torch_compile_backend": "inductor"},
            {"nproc_per_node": 1},
        ),
    ],
)
def test_accelerates_flags(root: Path, flags: str, train: dict[str, Any], launched: dict[str, Any]) -> None:
    result = preset(imported(root, f"accelerate launch {flags} src/train.py run.yaml\n"))
    assert result["launch"] == launched
    assert {key: result["train"][key] for key in train} == train


def test_deepspeed_by_accelerate_becomes_zero(root: Path) -> None:
    result = imported(root, DEEPSPEED, "deepspeed.yaml")
    assert preset(result)["zero"] == {
        "stage": 3,
        "offload_optimizer": {"device": "cpu"},
        "stage3_gather_16bit_weights_on_model_save": True,
    }
    assert preset(result)["launch"] == {
        "nnodes": 2,
        "master_addr": "10.0.0.1",
        "master_port": 29500,
        "nproc_per_node": 8,
    }
    flags = (
        "accelerate launch --use_deepspeed --zero_stage 2 --offload_optimizer_device cpu --num_processes 2"
    )
    result = imported(root, f"{flags} src/train.py run.yaml\n")
    assert preset(result)["zero"] == {"stage": 2, "offload_optimizer": {"device": "cpu"}}


def test_llamafactorys_own_files_are_known_by_name(root: Path) -> None:
    text = "accelerate launch --config_file examples/accelerate/fsdp2_config.yaml src/train.py run.yaml\n"
    result = imported(root, text)
    assert preset(result)["train"]["fsdp_config"]["fsdp_version"] == 2
    assert any(
        "is not here: LLaMA-Factory 0.9.5's own fsdp2_config.yaml is taken" in note for note in said(result)
    )


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (
            "distributed_type: FSDP\nfsdp_config: {fsdp_reshard_after_forward: SHARD_GRAD_OP}",
            "SHARD_GRAD_OP has no effect with FSDP 1: accelerate shards as FULL_SHARD",
        ),
        ("distributed_type: MEGATRON_LM", "distributed_type: MEGATRON_LM: qtune has no such launcher"),
        (
            "megatron_lm_config: {megatron_lm_tp_degree: 2, megatron_lm_pp_degree: 4}",
            "accelerate's megatron_lm_tp_degree: 2, megatron_lm_pp_degree: 4",
        ),
        ("frobnicate: 3", "frobnicate: qtune has no counterpart of accelerate's frobnicate: 3"),
    ],
)
def test_what_accelerate_has_alone_is_one_finding(root: Path, line: str, finding: str) -> None:
    text = "compute_environment: LOCAL_MACHINE\nnum_processes: 2\n"
    (found,) = imported(root, f"{text}{line}\n", "a.yaml").findings
    assert finding in str(found)


def test_a_config_for_sagemaker_is_told_what_to_import(root: Path) -> None:
    with pytest.raises(QtuneError, match="is for Amazon SageMaker"):
        imported(root, "compute_environment: AMAZON_SAGEMAKER\niam_role_name: r\n", "a.yaml")


OPTIONS = """\
MODEL=Qwen/Qwen3-8B
RATE=1e-4
while [[ "$1" != "" ]]; do
  case $1 in
    -m | --model ) shift; MODEL=$1 ;;
    --rate) RATE="${2}"; shift ;;
    *) echo "unknown: $1"; exit 1 ;;
  esac
  shift
done
while getopts "t:" name; do
  case $name in
    t) KIND=$OPTARG ;;
  esac
done
llamafactory-cli train --stage sft --do_train --model_name_or_path $MODEL --learning_rate $RATE \\
  --dataset answers --template qwen3 --finetuning_type lora --output_dir out
"""


def test_a_script_is_called_without_options(root: Path) -> None:
    """What its options would replace has the default above; patterns of a case are no commands."""
    found = imported(root, OPTIONS)
    assert found.errors == ()
    train = yaml.safe_load(found.text)["train"]
    assert (train["model_name_or_path"], train["learning_rate"]) == ("Qwen/Qwen3-8B", 1e-4)
    unset = imported(root, OPTIONS.replace("RATE=1e-4\n", "", 1))
    assert [error.key for error in unset.errors] == ["learning_rate"]
