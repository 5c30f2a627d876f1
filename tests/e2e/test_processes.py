"""More processes, or another optimizer's code, and the same training."""

from __future__ import annotations

import json

import pytest
from scratch import Project
from test_presets_train import load_deepspeed
from test_stopping import marked, started, wait_until

pytestmark = pytest.mark.slow

# 64 rows fill every step of two processes, so both ways see the same rows in the same steps.
WHOLE_STEPS = ("-s", "max_samples=64", "-s", "num_train_epochs=2", "-s", "logging_steps=1")
ACCUMULATION = 4


# Not ZeRO-3: over gloo DeepSpeed 0.18.4 now and then reads parameters before they are gathered, and trains on
# what the memory held (partition_parameters.py waits for the last gather only; deepspeedai/DeepSpeed#8539).
@pytest.mark.parametrize("preset", ["lora", "deepspeed"])  # DDP, ZeRO-2
def test_two_processes_train_as_one_with_doubled_accumulation(project: Project, preset: str) -> None:
    two = ("-s", "launch.nproc_per_node=2", "-s", f"gradient_accumulation_steps={ACCUMULATION}")
    one = ("-s", "launch.nproc_per_node=1", "-s", f"gradient_accumulation_steps={2 * ACCUMULATION}")
    project.qtune("train", preset, *WHOLE_STEPS, *two, "--name", "two")
    # torchrun with one process too, which `auto` takes for DeepSpeed alone
    project.qtune("train", preset, *WHOLE_STEPS, *one, "--launcher", "torchrun", "--name", "one")

    assert "Initializing 2 distributed tasks" in project.run("two").log
    assert "world size: 2" in project.run("two").log
    assert "Initializing 1 distributed tasks" in project.run("one").log
    assert project.run("two").record["predicted_steps"] == project.run("one").record["predicted_steps"]
    assert len(project.run("one").losses) == project.run("one").record["predicted_steps"]
    # not the evaluation losses: the library weights rows by tokens across processes there
    for measure in ("loss", "grad_norm"):
        assert history(project, "two", measure) == pytest.approx(history(project, "one", measure), rel=1e-3)


def test_an_elastic_job_restarts_a_killed_worker_from_its_checkpoint(project: Project) -> None:
    settings = ("launcher=torchrun", "rdzv_id=job", "max_restarts=1")
    launch = [word for setting in settings for word in ("-s", f"launch.{setting}")]
    steps = ("-s", "max_steps=60", "-s", "save_steps=10", "-s", "logging_steps=1", "-s", "eval_dataset=null")
    project.qtune("train", "lora", *steps, "-n", "alone")
    with started(project, "train", "lora", *steps, *launch) as qtune:
        wait_until(lambda: any(project.run("lora").path.glob("checkpoint-*/trainer_state.json")), 300)
        for process in marked(project):
            if "LOCAL_RANK" in process.environ():
                process.kill()
                break
        assert qtune.wait() == 0
    record = project.run("lora").record
    assert (record["status"], record["global_step"], len(record["attempts"])) == ("finished", 60, 1)
    assert history(project, "lora", "loss") == history(project, "alone", "loss")


def history(project: Project, run: str, measure: str) -> list[float]:
    return [entry[measure] for entry in project.run(run).state["log_history"] if measure in entry]


def test_zero_3_with_offload_trains_as_plain_lora(project: Project) -> None:
    # the presets differ in cutoff_len, which no row of the demo reaches
    project.qtune("train", "lora", *WHOLE_STEPS)
    project.qtune("train", "stage3", *WHOLE_STEPS)
    for measure in ("loss", "grad_norm", "eval_loss"):
        assert history(project, "stage3", measure) == pytest.approx(
            history(project, "lora", measure), rel=1e-4
        )


def test_deepspeeds_cpu_adam_trains_as_torchs_optimizer(project: Project) -> None:
    project.qtune("render", "stage2_offload", *WHOLE_STEPS)
    project.qtune("train", "--name", "torch")
    zero_json = project.rendered("stage2_offload", "zero.json")
    zero = json.loads(zero_json.read_text(encoding="utf-8"))
    assert zero.pop("zero_force_ds_cpu_optimizer") is False
    zero_json.write_text(json.dumps(zero, indent=2), encoding="utf-8")
    project.qtune("train", "--name", "deepspeed")

    # only DeepSpeed's Adam has this setting
    assert "bias_correction" not in optimizer_settings(project, "torch")
    assert "bias_correction" in optimizer_settings(project, "deepspeed")
    assert project.run("deepspeed").losses == pytest.approx(project.run("torch").losses, rel=1e-3)
    assert project.run("deepspeed").evaluations == pytest.approx(project.run("torch").evaluations, rel=1e-3)


def optimizer_settings(project: Project, run: str) -> dict[str, object]:
    [*_, newest] = sorted(project.run(run).path.glob("checkpoint-*/global_step*/*_optim_states.pt"))
    [group] = load_deepspeed(newest)["optimizer_state_dict"]["base_optimizer_state"]["param_groups"]
    return group
