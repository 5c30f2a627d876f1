"""TRL's, Unsloth's, Firefly's and litgpt's configs and Python programs: what each key becomes in a preset."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from trees import REPOSITORY, write_tree

from qtune.config.project import find_project
from qtune.errors import QtuneError
from qtune.importing.original import Original
from qtune.importing.python import python_calls
from qtune.importing.read import Imported, read_import
from qtune.importing.source import LAYER, read_source
from qtune.importing.toolkits import program
from qtune.values import Origin

CASES = REPOSITORY / "tests" / "import_toolkits"
CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load("""
trl/chat-lora.yaml:
  {kind: a config of `trl sft`, model_name_or_path: Qwen/Qwen3-4B, lora_rank: 32, lora_alpha: 64,
   lora_dropout: 0.1, additional_target: 'embed_tokens,lm_head', use_rslora: true, flash_attn: fa2,
   packing: true, neat_packing: true, cutoff_len: 4096, enable_liger_kernel: true, dataset: Capybara,
   eval_dataset: Capybara_test, warmup_steps: 0.05, use_reentrant_gc: false, bf16: true, fp16: false,
   preprocessing_num_workers: 8}
trl/texts-full.yaml:
  {kind: a config of `trl sft`, stage: pt, finetuning_type: full, pure_bf16: true, packing: true,
   streaming: true, disable_gradient_checkpointing: true, max_steps: 2000, lr_scheduler_type:
   warmup_stable_decay, adam_beta2: 0.95}
trl/mixture-zero3.yaml:
  {kind: a config of `trl sft`, dataset: 'answers,smoltalk_everyday-conversations,tldr', val_size: 0.02,
   train_on_prompt: true, finetuning_type: full, gradient_accumulation_steps: 16}
trl/preference-dpo.yaml:
  {kind: a config of `trl dpo`, stage: dpo, pref_beta: 0.05, pref_ftx: 0.2, quantization_bit: 4,
   lora_dropout: 0.05, eval_dataset: ultrafeedback_binarized_test}
trl/feedback-kto.yaml:
  {kind: a config of `trl kto`, stage: kto, kto_rejected_weight: 1.33, cutoff_len: 1536, lora_target:
   'q_proj,v_proj'}
trl/scores-reward.yaml:
  {kind: a config of `trl reward`, stage: rm, lora_rank: 32, fp16: true, bf16: false, lr_scheduler_type:
   linear}
trl/launched-dpo.sh:
  {kind: a command of TRL, stage: dpo, pref_loss: ipo, pref_beta: 0.2, lora_rank: 32, lora_target:
   'q_proj,v_proj', eval_dataset: ultrafeedback_binarized_test, learning_rate: 5.0e-6,
   remove_unused_columns: false}
trl/command-sft.sh:
  {kind: a command of TRL, packing: true, neat_packing: true, pure_bf16: true, finetuning_type: full,
   flash_attn: fa2, cutoff_len: 2048, report_to: none}
trl-recipes/handbook-dpo.yaml:
  {kind: a config of `trl dpo`, dataset: ultrafeedback_binarized_train_prefs, pref_beta: 0.01,
   eval_strategy: steps, eval_dataset: ultrafeedback_binarized_test_prefs, cutoff_len: 1024}
trl-recipes/reasoning-sft.yaml:
  {kind: a config of `trl sft`, dataset: 'Mixture-of-Thoughts_math,Mixture-of-Thoughts_code',
   cutoff_len: 32768, lr_scheduler_kwargs: {min_lr_rate: 0.1}, pure_bf16: true, enable_liger_kernel:
   true}
trl-recipes/capybara-orpo.yaml:
  {kind: a config of `trl orpo`, stage: dpo, pref_loss: orpo, pref_beta: 0.05, finetuning_type: full}
unsloth/lora.yaml:
  {kind: an Unsloth config, lora_rank: 16, lora_alpha: 32, quantization_bit: 4, use_unsloth_gc: true,
   seed: 17, lora_target: 'q_proj,v_proj', report_to: wandb, logging_steps: 10, packing: true}
unsloth/full.yaml:
  {kind: an Unsloth config, finetuning_type: full, train_on_prompt: true, cutoff_len: 1024,
   warmup_steps: 5}
unsloth/script.sh:
  {kind: a command of Unsloth, lora_rank: 64, lora_alpha: 32, quantization_bit: 4, template: alpaca,
   max_steps: 200, seed: 11, use_unsloth_gc: true, cutoff_len: 4096}
firefly/chat-qlora.json:
  {kind: Firefly's train_args, quantization_bit: 4, lora_rank: 32, template: qwen, fp16: true, bf16:
   false}
firefly/preference-full.json:
  {kind: Firefly's train_args, stage: dpo, finetuning_type: full, pref_beta: 0.2, optim: adamw_torch,
   disable_gradient_checkpointing: true, warmup_steps: 0.05}
firefly/texts-qlora.json:
  {kind: Firefly's train_args, stage: pt, quantization_bit: 4, lora_rank: 64, preprocessing_num_workers:
   10}
litgpt/lora.yaml:
  {kind: a litgpt config, model_name_or_path: meta-llama/Llama-3.2-3B, lora_rank: 32, lora_alpha: 16,
   lora_target: 'q_proj,v_proj,o_proj', quantization_bit: 4, bf16: true, gradient_accumulation_steps: 8,
   learning_rate: 0.0002, adam_beta2: 0.95, max_grad_norm: 0.0, dataset: answers, val_size: 0.05,
   train_on_prompt: true, template: alpaca}
""")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "project", {"qtune.yaml": "runs: runs\n", "notes/answers.jsonl": [CHAT]})


def imported(root: Path, text: str, name: str = "theirs.yaml") -> Imported:
    write_tree(root, {name: text})
    return read_import(root / name, root, find_project(root))


def case(root: Path, name: str) -> Imported:
    (root / Path(name).name).write_bytes((CASES / name).read_bytes())
    return read_import(root / Path(name).name, root, find_project(root))


def train(result: Imported) -> dict[str, Any]:
    assert result.errors == (), [str(error) for error in result.errors]
    return dict(yaml.safe_load(result.text)["train"])


def said(result: Imported) -> str:
    return "\n".join(map(str, (*result.notes, *result.findings)))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_config_becomes_these_arguments(root: Path, name: str) -> None:
    expected, result = dict(EXPECTED[name]), case(root, name)
    assert result.kind == expected.pop("kind")
    found = train(result)
    assert {key: found.get(key) for key in expected} == expected
    assert result.coverage is not None and result.coverage.translated > 5 * result.coverage.missing


def test_what_deepspeed_and_the_launcher_get(root: Path) -> None:
    mixture = yaml.safe_load(case(root, "trl/mixture-zero3.yaml").text)
    assert mixture["zero"] == {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}
    assert mixture["launch"] == {"nproc_per_node": 8}
    firefly = yaml.safe_load(case(root, "firefly/preference-full.json").text)
    assert firefly["zero"]["stage"] == 3 and firefly["zero"]["offload_param"]["device"] == "cpu"


def test_the_data_of_a_mixture_are_registered_with_their_shape(root: Path) -> None:
    result = case(root, "trl/mixture-zero3.yaml")
    assert result.datasets["answers"]["file_name"] == "../notes/answers.jsonl"
    assert result.datasets["answers"]["formatting"] == "sharegpt"
    assert result.datasets["tldr"]["columns"] == {"prompt": "prompt", "response": "completion"}
    assert result.datasets["smoltalk_everyday-conversations"]["subset"] == "everyday-conversations"


MINIMAL = "model_name_or_path: Qwen/Qwen3-0.6B\ndataset_name: trl-lib/Capybara\n"


def test_defaults_are_those_of_the_trainer(root: Path) -> None:
    found = train(imported(root, MINIMAL))
    assert {key: found[key] for key in ("learning_rate", "cutoff_len", "per_device_train_batch_size")} == {
        "learning_rate": 2e-5,
        "cutoff_len": 1024,
        "per_device_train_batch_size": 8,
    }
    assert found["finetuning_type"] == "full" and found["lr_scheduler_type"] == "linear"
    lora = train(imported(root, f"{MINIMAL}use_peft: true\n"))
    assert (lora["lora_rank"], lora["lora_alpha"], lora["lora_target"]) == (16, 32, "q_proj,v_proj")
    assert train(imported(root, f"{MINIMAL}beta: 0.2\n"))["learning_rate"] == 1e-6


@pytest.mark.parametrize(
    ("name", "lines", "stage"),
    [
        ("theirs.yaml", "", "sft"),
        ("theirs.yaml", "loss_type: ipo\n", "dpo"),
        ("theirs.yaml", "desirable_weight: 2.0\n", "kto"),
        ("theirs.yaml", "lora_task_type: SEQ_CLS\n", "rm"),
        ("dpo_config.yaml", "", "dpo"),
        ("recipes/dpo/config_full.yaml", "beta: 0.1\n", "dpo"),
        ("reward-small.yaml", "", "rm"),
    ],
)
def test_the_trainer_is_told_by_keys_then_by_the_path(root: Path, name: str, lines: str, stage: str) -> None:
    result = imported(root, MINIMAL + lines, name)
    assert train(result).get("stage", "sft") == stage
    assert "read as `trl " in said(result)


def test_simpo_is_cpo_without_its_text_loss(root: Path) -> None:
    found = train(imported(root, f"{MINIMAL}loss_type: simpo\ncpo_alpha: 0.0\nsimpo_gamma: 1.0\nbeta: 2.0\n"))
    assert (found["pref_loss"], found["simpo_gamma"], found["pref_beta"]) == ("simpo", 1.0, 2.0)
    assert "with CPO's NLL term" in said(imported(root, f"{MINIMAL}loss_type: simpo\nbeta: 2.0\n"))


@pytest.mark.parametrize("key", ["num_generations: 8", "reward_funcs: [accuracy_reward]"])
def test_grpo_is_refused_with_what_there_is(root: Path, key: str) -> None:
    with pytest.raises(QtuneError, match="TRL's GRPO, which LLaMA-Factory does not have") as error:
        imported(root, f"{MINIMAL}{key}\n")
    assert "keep this one in TRL" in str(error.value)


def test_prompts_that_trl_counts_are_said_once(root: Path) -> None:
    assert said(imported(root, MINIMAL)).count("TRL counts every token of a conversation") == 1
    for line in ("assistant_only_loss: true", "completion_only_loss: true", "dataset_text_field: text"):
        assert "TRL counts every token" not in said(imported(root, f"{MINIMAL}{line}\n"))
    assert train(imported(root, f"{MINIMAL}completion_only_loss: false\n"))["train_on_prompt"] is True


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("loss_type: apo_zero\nbeta: 0.1\n", "LLaMA-Factory has no loss apo_zero"),
        ("cpo_alpha: 1.0\n", "LLaMA-Factory has no loss sigmoid of CPO"),
        ("loss_type: apo_zero_unpaired\ndesirable_weight: 1.0\n", "no loss apo_zero_unpaired"),
        ("lora_r: 8\n", "TRL reads it with `use_peft: true` alone"),
        ("use_peft: true\nlora_target_modules: ['.*proj$']\n", "is a pattern"),
        ("truncation_mode: keep_end\n", "no counterpart of keep_end"),
        ("accelerate_config: fsdp2\n", "fsdp2 is not taken over"),
        ("env: {TOKENIZERS_PARALLELISM: false}\n", "start the training with TOKENIZERS_PARALLELISM="),
        ("label_smoothing: 0.1\nbeta: 0.1\n", "up to TRL 0.29"),
        ("packing: true\neval_packing: false\n", "packs both data sets or none"),
        ("nobody_knows: 1\n", "qtune knows no counterpart of TRL's `nobody_knows`"),
    ],
)
def test_what_has_no_counterpart_is_one_finding(root: Path, lines: str, says: str) -> None:
    assert said(imported(root, MINIMAL + lines)).count(says) == 1


def test_the_columns_of_a_trainer_are_registered(root: Path) -> None:
    pairs = imported(root, f"{MINIMAL}loss_type: sigmoid\n")
    assert pairs.datasets["Capybara"]["ranking"] is True
    assert pairs.datasets["Capybara"]["columns"] == {
        "prompt": "prompt",
        "chosen": "chosen",
        "rejected": "rejected",
    }
    assert said(pairs).count("registered as texts in prompt, chosen, rejected") == 1
    judged = imported(root, f"{MINIMAL}desirable_weight: 1.0\n")
    assert judged.datasets["Capybara"]["columns"]["kto_tag"] == "label"


def test_packed_sequences_come_one_at_a_time_with_fa2(root: Path) -> None:
    lines = "packing: true\nper_device_train_batch_size: 4\ngradient_accumulation_steps: 2\n"
    found = train(imported(root, f"{MINIMAL}{lines}attn_implementation: flash_attention_2\n"))
    assert (found["per_device_train_batch_size"], found["gradient_accumulation_steps"]) == (1, 8)
    found = train(imported(root, MINIMAL + lines))
    assert (found["per_device_train_batch_size"], found["gradient_accumulation_steps"]) == (4, 2)


def test_the_same_data_are_registered_once(root: Path, qtune: Any) -> None:
    write_tree(root, {"a.yaml": MINIMAL, "b.yaml": f"{MINIMAL}packing: true\n"})
    for name in ("a", "b"):
        result = qtune("import", f"{name}.yaml", "-n", name, directory=root)
        assert result.code == 0, result.err
    assert "`Capybara` is registered in the project" in result.err


@pytest.mark.parametrize(
    "key", ["datasets", "dataset_mixer", "dataset_splits", "loss_type", "loss_weights", "env"]
)
@pytest.mark.parametrize("value", ["3", "text", "[1, {a: b}]", "{a: [1]}", "[[1]]"])
def test_values_of_another_type_are_findings_too(root: Path, key: str, value: str) -> None:
    text = f"{MINIMAL}dataset_mixer: {{a/b: 1}}\n" if key == "dataset_splits" else MINIMAL
    imported(root, f"{text}beta: 0.1\n{key}: {value}\n")


def test_a_format_of_another_type_is_none(root: Path) -> None:
    text = "model: a/b\ndata: {dataset: c/d, format_type: {a: 1}}\ntraining: {training_type: lora}\n"
    assert imported(root, text).datasets["d"] == {"hf_hub_url": "c/d"}


def test_a_local_split_that_is_not_there_is_said(root: Path) -> None:
    text = "model_name_or_path: a/b\ndataset_name: notes/answers.jsonl\neval_strategy: steps\n"
    result = imported(root, text)
    assert "eval_dataset" not in train(result) and "set `val_size: 0.1`" in said(result)


def test_a_key_that_only_llamafactory_has_wins(root: Path) -> None:
    for line in ("stage: sft", "template: qwen", "finetuning_type: lora", "lora_target: all"):
        assert "trl" not in imported(root, f"{MINIMAL}do_train: true\n{line}\n").kind


def test_a_template_that_firefly_alone_has_is_said(root: Path) -> None:
    assert "LLaMA-Factory has no template minicpm" in said(case(root, "firefly/preference-full.json"))


# ── Python programs ────────────────────────────────────────────────────────────────────────────────────

UNSLOTH = """\
from unsloth import FastLanguageModel
from unsloth.chat_templates import get_chat_template, train_on_responses_only
from trl import SFTTrainer, SFTConfig
from datasets import load_dataset
length = 4096
model, tokenizer = FastLanguageModel.from_pretrained(
    "unsloth/Qwen3-4B", max_seq_length=length, load_in_4bit=True)
model = FastLanguageModel.get_peft_model(model, r=32, lora_alpha=64, lora_dropout=0, bias="none",
    use_gradient_checkpointing="unsloth", random_state=3407, use_rslora=True)
tokenizer = get_chat_template(tokenizer, chat_template="qwen-3")
dataset = load_dataset("mlabonne/FineTome-100k", split="train")
dataset = dataset.map(formatting, batched=True)
trainer = SFTTrainer(model=model, tokenizer=tokenizer, train_dataset=dataset, args=SFTConfig(
    dataset_text_field="text", per_device_train_batch_size=2, learning_rate=2e-4, optim="adamw_8bit",
    max_steps=60, bf16=is_bf16_supported(), seed=3407))
trainer = train_on_responses_only(trainer, instruction_part="<|user|>", response_part="<|assistant|>")
trainer.train()
"""
PEFT = """\
from peft import LoraConfig, prepare_model_for_kbit_training
bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
model = AutoModelForCausalLM.from_pretrained(
    "mistralai/Mistral-7B-v0.1", quantization_config=bits, device_map="auto")
tokenizer = AutoTokenizer.from_pretrained("other/tokenizer")
model = prepare_model_for_kbit_training(model)
rows = load_dataset("json", data_files={"train": "notes/answers.jsonl", "test": "notes/test.jsonl"})
lora = LoraConfig(r=64, lora_alpha=16, task_type="CAUSAL_LM", target_modules=["q_proj"])
arguments = TrainingArguments(
    output_dir="out", num_train_epochs=2, learning_rate=cli.lr, fp16=True, warmup_ratio=0.03)
SFTTrainer(
    model=model, train_dataset=rows["train"], args=arguments, max_seq_length=512, peft_config=lora).train()
"""


def read_program(root: Path, text: str) -> Original | None:
    write_tree(root, {"train.py": text})
    source = read_source(root / "train.py", root)
    calls = python_calls(text, lambda line: Origin(LAYER, source.display, line))
    return program.translate(calls, source, find_project(root))


def test_a_program_with_unsloth(root: Path) -> None:
    original = read_program(root, UNSLOTH)
    assert original is not None and original.kind == "a Python program with Unsloth and SFTTrainer"
    found = {name: value.value for name, value in original.keys.items()}
    expected = {
        **{
            "model_name_or_path": "unsloth/Qwen3-4B",
            "cutoff_len": 4096,
            "quantization_bit": 4,
            "stage": "sft",
        },
        **{"lora_rank": 32, "lora_alpha": 64, "use_unsloth_gc": True, "use_rslora": True, "max_steps": 60},
        **{"dataset": "FineTome-100k", "seed": 3407, "finetuning_type": "lora", "optim": "adamw_8bit"},
    }
    assert {name: found.get(name) for name in expected} == expected
    assert [finding.key for finding in original.part.findings] == ["train_dataset", "dataset_name"]
    assert any("decides on bf16" in note.message for note in original.part.notes)


def test_a_program_with_peft_and_what_only_a_run_knows(root: Path) -> None:
    original = read_program(root, PEFT)
    assert original is not None and original.coverage is not None and original.coverage.missing == 1
    found = {name: value.value for name, value in original.keys.items()}
    expected = {
        **{"model_name_or_path": "mistralai/Mistral-7B-v0.1", "quantization_bit": 4, "lora_rank": 64},
        **{"double_quantization": True, "lora_target": "q_proj", "cutoff_len": 512, "dataset": "answers"},
        **{"disable_gradient_checkpointing": False, "fp16": True, "bf16": False, "warmup_ratio": 0.03},
    }
    assert {name: found.get(name) for name in expected} == expected
    assert str(original.part.findings[0]).startswith("train.py:10 learning_rate: `cli.lr` is known only when")


def test_programs_that_train_otherwise(root: Path) -> None:
    assert read_program(root, "print('hello')\n") is None
    assert read_program(root, "Trainer(model_cfg=Qwen3Config(), total_epoch=1).fit()\n") is None
    with pytest.raises(QtuneError, match="takes its values from elsewhere"):
        read_program(root, "SFTTrainer(model=a.model, max_length=a.length, packing=a.packing)\n")
    with pytest.raises(QtuneError, match="trains by SFTTrainer and DPOTrainer"):
        read_program(root, "SFTTrainer(model='a/b')\nDPOTrainer(model='a/b')\n")
    with pytest.raises(QtuneError, match="TRL's GRPO"):
        read_program(root, "GRPOTrainer(model='a/b', args=GRPOConfig())\n")
    texts = (
        "Trainer(args=TrainingArguments('o'), data_collator=DataCollatorForLanguageModeling(t, mlm=False))\n"
    )
    original = read_program(root, texts)
    assert original is not None and original.keys["stage"].value == "pt"


def test_importing_writes_what_can_be_checked(root: Path, qtune: Any) -> None:
    shutil.copy(CASES / "unsloth" / "lora.yaml", root / "lora.yaml")
    result = qtune("import", "lora.yaml", "-n", "taken", directory=root)
    assert (
        result.code == 0
        and "read as an Unsloth config (29 of 38 keys translated, nothing to do for 9)" in result.err
    )
    assert qtune("show", "taken", directory=root).code == 0
