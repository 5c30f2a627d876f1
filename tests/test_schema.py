"""What a value may be, and which template a model takes."""

import subprocess
import sys

import pytest

from qtune import schema
from qtune.schema import Argument, problem, template_for


def an_argument(**changes):
    values = {
        "name": "x",
        "group": "training",
        "types": ("str",),
        "nullable": False,
        "choices": None,
        "default": None,
        "help": "",
    }
    return Argument(**(values | changes))


def said_about(name, value):
    return problem(schema.arguments()[name], value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 1e-4),
        ("learning_rate", 1),
        ("lora_rank", 8),
        ("lora_target", "q_proj,v_proj"),
        ("lora_target", ["q_proj", "v_proj"]),
        ("bf16", True),
        ("packing", None),
        ("val_size", 0.1),
        ("val_size", 100),
        ("save_steps", 0.5),
        ("eval_strategy", "no"),
        ("include_num_input_tokens_seen", True),
        ("include_num_input_tokens_seen", "non_padding"),
        ("deepspeed", "zero.json"),
        ("deepspeed", {"zero_optimization": {"stage": 2}}),
        ("resume_from_checkpoint", True),
        ("report_to", ["tensorboard"]),
        ("ref_model_quantization_bit", 4),
        ("optim", "paged_adamw_8bit"),
    ],
)
def test_right_values_pass(name, value):
    assert said_about(name, value) is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("learning_rate", "1e-4", "is text in quotes ('1e-4'); a float is expected: remove the quotes"),
        ("learning_rate", "fast", "is text ('fast'); a float is expected"),
        ("learning_rate", True, "is true; a float is expected"),
        ("learning_rate", float("nan"), "is not a finite number (nan)"),
        ("learning_rate", float("inf"), "is not a finite number (inf)"),
        ("lora_rank", True, "is true; an integer is expected"),
        ("lora_rank", "8", "is text in quotes ('8'); an integer is expected: remove the quotes"),
        ("max_steps", 1000.0, "is a float (1000.0); an integer is expected: write 1000"),
        ("max_steps", 0.5, "is a float (0.5); an integer is expected"),
        ("bf16", "true", "is text in quotes ('true'); true or false is expected: remove the quotes"),
        ("bf16", 1, "is an integer (1); true or false is expected"),
        ("cutoff_len", None, "is null; an integer is expected"),
        ("template", ["qwen"], "is a list; text is expected"),
        ("lora_target", {"all": True}, "is a mapping; text or a list is expected"),
        ("model_revision", 2, "is an integer (2); text is expected: put it in quotes"),
        ("eval_strategy", False, 'is false: YAML reads a bare no as false; write "no" in quotes'),
        ("flash_attn", True, "is true; one of auto, disabled, sdpa, fa2, fa3 is expected"),
        ("stage", 1, "is an integer (1); one of pt, sft, rm, ppo, dpo, kto is expected"),
        ("ref_model_quantization_bit", 3, "is 3; accepted: 4, 8"),
        ("parallelism_config", {"tp_size": 2}, "cannot be set in YAML: it takes a Python object"),
    ],
)
def test_wrong_values_are_told_in_plain_words(name, value, words):
    assert said_about(name, value) == words


def test_wrong_choice_names_the_near_one_first_and_then_all():
    assert said_about("finetuning_type", "loar") == (
        "is 'loar'; did you mean lora? Accepted: lora, oft, freeze, full"
    )


def test_wrong_choice_in_another_case_names_the_right_one():
    assert "did you mean lora?" in said_about("finetuning_type", "LoRA")


def test_wrong_choice_of_many_names_only_near_ones():
    words = said_about("optim", "adamw_tourch")
    assert words.startswith("is 'adamw_tourch'; did you mean adamw_torch? Accepted, of ")
    assert "rmsprop" not in words


def test_choices_bind_only_values_of_their_own_type():
    interval = schema.zero_keys()["zenflow"].keys["update_interval"]
    assert problem(interval, 4) is None
    assert problem(interval, "auto") is None
    assert problem(interval, "often") is not None


def test_bare_on_is_told_from_a_choice():
    argument = an_argument(choices=("on", "off"))
    assert problem(argument, True) == 'is true: YAML reads a bare on as true; write "on" in quotes'


def test_whole_zero_numbers_may_be_written_as_floats():
    bucket = schema.zero_keys()["allgather_bucket_size"]
    assert problem(bucket, 5e8) is None
    assert problem(bucket, 500_000_000) is None
    assert problem(bucket, 0.5) == "is a float (0.5); an integer is expected"


def test_auto_passes_only_where_it_is_filled_in():
    keys = schema.zero_keys()
    assert problem(keys["reduce_bucket_size"], "auto") is None
    assert problem(keys["allgather_bucket_size"], "auto") == "is text ('auto'); an integer is expected"


def test_zero_stages_are_bounded():
    stage = schema.zero_keys()["stage"]
    assert problem(stage, 3) is None
    assert problem(stage, 4) == "is 4; accepted: 0, 1, 2, 3"


def test_zero_keys_go_by_both_of_their_names():
    keys = schema.zero_keys()
    assert keys["prefetch_bucket_size"].default == keys["stage3_prefetch_bucket_size"].default
    assert not keys["prefetch_bucket_size"].auto


def test_offload_blocks_know_their_own_keys():
    device = schema.zero_keys()["offload_optimizer"].keys["device"]
    assert problem(device, "cpu") is None
    assert problem(device, "gpu") == "is 'gpu'; did you mean cpu? Accepted: none, cpu, nvme"


def test_arguments_carry_their_group_and_help():
    assert schema.arguments()["lora_rank"].group == "finetuning"
    assert schema.arguments()["cutoff_len"].group == "data"
    assert all(argument.help for argument in schema.arguments().values())


def test_dataset_defaults_are_those_of_an_absent_block():
    assert schema.column_keys()["prompt"].default == "instruction"
    assert schema.column_keys()["history"].default is None
    assert schema.tag_keys()["role_tag"].default == "from"
    assert schema.dataset_keys()["formatting"].choices == ("alpaca", "sharegpt", "openai")


@pytest.mark.parametrize(
    ("model", "model_type", "template"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", None, "qwen"),
        ("qwen/qwen2.5-0.5b-instruct", None, "qwen"),
        ("Qwen/Qwen2.5-0.5B", None, "qwen"),  # a base model
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "qwen2", "deepseekr1"),  # its name outweighs its type
        ("models/Qwen3-4B-Instruct-2507/", "qwen3", "qwen3_nothink"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", None, "qwen3_nothink"),  # which the library does not register
        ("models/mine", "qwen2", "qwen"),
        ("models/mine", "llama", None),
        ("models/mine", None, None),
        ("", None, None),
    ],
)
def test_template_is_found_by_identifier_then_name_then_type(model, model_type, template):
    assert template_for(model, model_type) == template


def test_every_template_found_exists():
    assert {"default", "qwen", "llama3"} <= set(schema.template_names())


def test_loading_needs_no_library():
    code = (
        "import sys; from qtune import schema; schema.arguments(); schema.template_for('x', None);"
        "print([name for name in ('torch', 'transformers', 'llamafactory') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
