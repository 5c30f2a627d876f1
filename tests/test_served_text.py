"""What training and serving write of one conversation: a finding where it is not the same.

Threads: hiyouga/LLaMA-Factory #6020 (good here, bad in ollama), #5453 (endless generation), #9759.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rule_cases import settings_layer
from trees import write_tree

from qtune import sandbox
from qtune.config.project import find_project
from qtune.machine.hardware import Hardware
from qtune.prepare import pipeline
from qtune.values import Finding

Say = Callable[..., list[Finding]]


def findings(root: Path, **settings: object) -> list[Finding]:
    layers = [settings_layer(settings)]
    found = pipeline.examine("lora", find_project(root), Hardware(), layers).findings
    return [finding for finding in found if finding.key != "dataset"]  # the rows have no thoughts


QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
TURNS = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content"
    " + '<|im_end|>\\n' }}{%- endfor %}"
)
ASKS = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
# As Qwen3 has it: no thoughts in what was said before, and an empty one in place of what is switched off.
HYBRID = (
    "{%- for message in messages %}{%- set text = message.content.split('</think>')[-1].lstrip('\\n') %}"
    "{{- '<|im_start|>' + message.role + '\\n' + text + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}"
    "{%- endif %}{%- endif %}"
)
ALWAYS = TURNS + ASKS.replace("assistant\\n'", "assistant\\n<think>\\n'")

MARKED = "{%- if message.role == 'assistant' and not loop.last %}{{- '<|sep|>' }}{%- endif %}"


def with_system(text: str) -> str:
    """A template of Qwen's shape that adds a system prompt where there is none."""
    added = f"{{{{- '<|im_start|>system\\n{text}<|im_end|>\\n' }}}}"
    return f"{{%- if messages[0].role != 'system' %}}{added}{{%- endif %}}{TURNS}{ASKS}"


QWEN = with_system(QWEN_SYSTEM)


@pytest.fixture
def say(project: Callable[..., Path], tmp_path: Path) -> Say:
    """The findings about a template for a model of a type with a chat template of its own."""

    def of(own: object, template: str, model_type: str = "qwen2", **settings: object) -> list[Finding]:
        config = own if isinstance(own, dict) else {"chat_template": own}
        root = project(
            {
                "taught/config.json": {"model_type": model_type},
                "taught/tokenizer_config.json": {"eos_token": "<|im_end|>", **config},
            }
        )
        return findings(root, model_name_or_path="./taught", template=template, **settings)

    return of


@pytest.mark.parametrize(
    ("own", "template", "settings"),
    [
        (QWEN, "qwen", {}),
        (HYBRID, "qwen3", {}),
        (HYBRID, "qwen3", {"enable_thinking": False}),
        (HYBRID, "qwen3_nothink", {}),
        (ALWAYS, "qwen3", {}),
        (with_system("You are a helpful assistant."), "qwen2_vl", {}),
        (with_system("Be kind."), "qwen", {"default_system": "Be kind."}),
        # the config's own prompt is what the model will be asked with
        (QWEN, "qwen", {"default_system": "Be kind."}),
        (QWEN + "{%- generation %}{%- endgeneration %}", "qwen", {}),
        ("{%- if tools %}{{- 'other' }}{%- endif %}" + QWEN, "qwen", {}),  # the data has none
        ([{"name": "default", "template": QWEN}, {"name": "rag", "template": "other"}], "qwen", {}),
        (QWEN.replace("<|im_end|>\\n' }}{%- endfor", "' + eos_token + '\\n' }}{%- endfor"), "qwen", {}),
        (with_system("x"), "chatml", {}),  # which LLaMA-Factory writes over the model's own
        (with_system("x"), "qwen", {"stage": "pt", "dataset": "rows"}),
        (None, "qwen", {}),
        (7, "qwen", {}),
        ([7, {"name": "default"}], "qwen", {}),
    ],
)
def test_what_is_the_same_is_no_finding(
    say: Say, own: object, template: str, settings: dict[str, object]
) -> None:
    found = say(own, template, "qwen3" if template.startswith("qwen3") else "qwen2", **settings)
    assert [finding for finding in found if finding.key == "template"] == []


@pytest.mark.parametrize(
    ("own", "template", "settings", "differs", "fix"),
    [
        (HYBRID, "qwen", {}, "training has `<|im_start|>system", "set `template: qwen3`"),
        (HYBRID, "llama3", {}, "training has `<|start_header_id|>user", "set `template: qwen3`"),
        (ALWAYS, "qwen3_nothink", {}, "serving `…im_start|>assistant\\n<think>\\n`", "set `template: qwen3`"),
        (ALWAYS, "qwen3", {"enable_thinking": False}, "<think>\\n\\n</think>", "set `enable_thinking: true`"),
        (
            with_system("Be kind."),
            "qwen3",
            {},
            "without a system prompt training has `<|im_start|>user",
            "set `default_system: Be kind.`",
        ),
        (HYBRID.replace("message.role", "'x'"), "qwen3", {}, "serving `<|im_start|>x\\n", "`qtune api`"),
        (HYBRID.replace("<|im_end|>", "<|end|>"), "qwen3", {}, "<|end|>", "`qtune api`"),
        (
            HYBRID.replace("{%- endfor", f"{MARKED}{{%- endfor"),
            "qwen3",
            {},
            "from the second question on",
            "`qtune api`",
        ),
    ],
)
def test_the_first_difference_is_shown_with_what_ends_it(
    say: Say, own: str, template: str, settings: dict[str, object], differs: str, fix: str
) -> None:
    (finding,) = say(own, template, "qwen3", **settings)
    assert (finding.severity, finding.key) == ("warning", "template")
    assert differs in finding.message and "servers such as vLLM" in finding.message, finding.message
    assert fix in finding.fix


def test_a_default_system_prompt_that_one_side_adds_is_a_difference_until_it_is_set(say: Say) -> None:
    """Qwen2's own, beside the one of Qwen2.5 that LLaMA-Factory gives both."""
    own = with_system("You are a helpful assistant.")
    (finding,) = say(own, "qwen")
    assert "serving `…art|>system\\nYou are a helpful assistant" in finding.message
    assert finding.fix == "set `default_system: You are a helpful assistant.` under `train:`"
    assert say(own, "qwen", default_system="You are a helpful assistant.") == []


def test_an_end_that_is_not_trained_is_a_difference(say: Say) -> None:
    (finding,) = say(QWEN.replace("<|im_end|>\\n' }}{%- endfor", "<|end|>\\n' }}{%- endfor"), "qwen")
    assert "<|end|>" in finding.message
    answers = "{%- for message in messages %}{{- message.content }}{%- if message.role == 'assistant' %}"
    (finding,) = say(answers + "{{- '<|stop|>' }}{%- endif %}{%- endfor %}", "empty")
    assert finding.rule == "answers-end"


def test_tools_are_compared_where_the_data_has_them(project: Callable[..., Path]) -> None:
    columns = "{prompt: instruction, response: output, tools: input}"
    root = project(
        {
            "data/datasets.yaml": f"rows: {{file_name: rows.jsonl, columns: {columns}}}\n",
            "taught/config.json": {"model_type": "qwen2"},
            "taught/tokenizer_config.json": {"eos_token": "<|im_end|>"},
            "taught/chat_template.jinja": "{%- if tools %}{{- 'tools: ' + tools|tojson }}{%- endif %}" + QWEN,
        }
    )
    (finding,) = findings(root, model_name_or_path="./taught", template="qwen")
    assert ": with tools training has `" in finding.message


def test_a_file_of_its_own_goes_before_the_tokenizers_settings(project: Callable[..., Path]) -> None:
    files = {
        "taught/config.json": {"model_type": "qwen2"},
        "taught/tokenizer_config.json": {"chat_template": with_system("old"), "eos_token": "<|im_end|>"},
        "taught/chat_template.jinja": QWEN,
    }
    root = project(files)
    assert findings(root, model_name_or_path="./taught", template="qwen") == []
    write_tree(root, {"taught/chat_template.jinja": with_system("new one")})  # and no older reading counts
    (finding,) = findings(root, model_name_or_path="./taught", template="qwen")
    assert "new one" in finding.message


def test_a_model_in_the_hubs_cache_is_compared_likewise(
    project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = "models--own--taught/snapshots/abc"
    tree = {
        "models--own--taught/refs/main": "abc",
        f"{snapshot}/config.json": {"model_type": "qwen2"},
        f"{snapshot}/tokenizer_config.json": {"chat_template": HYBRID},
    }
    write_tree(tmp_path, tree)
    (finding,) = findings(project(), model_name_or_path="own/taught", template="qwen")
    assert "serving `<|im_start|>user" in finding.message


def test_a_template_that_takes_no_system_prompt_is_compared_without(say: Say) -> None:
    refuses = "{%- if messages[0].role == 'system' %}{{- raise_exception('no') }}{%- endif %}" + TURNS + ASKS
    assert say(refuses, "qwen3_nothink", "qwen3") == []


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ("{% for %}", "fails: "),
        ("{{ raise_exception('never asked so') }}", "fails: never asked so"),
        ("{{ messages[0].nothing.more }}", "fails: "),
        ("always the same", "leaves out what is asked"),
        ("", "leaves out what is asked"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "0.05 seconds"),
        ("{% for a in range(2000) %}{{ 'x' * 1000 }}{% endfor %}", "1,000,000 characters"),
        ("{{ messages.__class__.__mro__ }}", "fails: "),
        ("{{ messages.append(messages[0]) }}", "fails: "),
        ("{{ 2 ** 3 }}", "no use for powers"),
    ],
)
def test_a_template_that_makes_nothing_of_a_question_is_said(
    say: Say, monkeypatch: pytest.MonkeyPatch, own: str, why: str
) -> None:
    monkeypatch.setattr(sandbox, "CPU_SECONDS", 0.05 if "seconds" in why else 3.0)
    (finding,) = say(own, "qwen")
    assert finding.severity == "warning" and why in finding.message


def test_a_file_beyond_its_bounds_is_not_read(project: Callable[..., Path]) -> None:
    files = {"taught/config.json": {"model_type": "qwen2"}, "taught/chat_template.jinja": "x" * 1_000_001}
    (finding,) = findings(project(files), model_name_or_path="./taught", template="qwen")
    assert "has more than 1,000,000 bytes" in finding.message


@pytest.mark.parametrize(
    ("model", "template", "right"),
    [
        ("Qwen/Qwen3-8B", "qwen", "qwen3"),
        ("Qwen/Qwen3-8B", "llama3", "qwen3"),
        ("Qwen/Qwen3-8B", "qwen3_nothink", None),
        ("Qwen/Qwen3-8B", "qwen3_vl", None),  # one text
        ("Qwen/Qwen3-4B-Thinking-2507", "qwen3_nothink", "qwen3"),
        ("Qwen/Qwen3-4B-Thinking-2507", "qwen3", None),
        ("models/Qwen3-4B-Instruct-2507", "qwen3", "qwen3_nothink"),
        ("Qwen/Qwen3-4B-Base", "llama3", None),
        ("Qwen/Qwen3-Next-80B-A3B-Thinking", "qwen3_nothink", "qwen3"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen3", "qwen"),
        ("Qwen/Qwen2.5-7B-Instruct", "default", "qwen"),
        ("zai-org/GLM-Z1-9B-0414", "glm4", "glmz1"),
        ("zai-org/GLM-4.5-Air", "glm4_7", "glm4_moe"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "mllama", None),
        ("openai/gpt-oss-20b", "llama3", "gpt_oss"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "qwen", "deepseekr1"),
        ("somebody/unheard-of", "qwen", None),
    ],
)
def test_a_template_of_another_family_is_said_by_the_models_name(
    project: Callable[..., Path], model: str, template: str, right: str | None
) -> None:
    root = project({f"{model}/config.json": {}} if model.startswith("models/") else {})
    found = findings(root, model_name_or_path=model, template=template)
    assert [finding.rule for finding in found] == (["template-of-another-family"] if right else [])
    assert all(f"`{right}`" in finding.message for finding in found)


@pytest.mark.parametrize(
    ("model_type", "settings", "rules"),
    [
        ("qwen3", {"template": "qwen"}, ["template-of-another-family"]),
        ("qwen3", {"template": "qwen3_nothink"}, []),
        ("llama", {"template": "qwen"}, []),  # a type of many families
        ("qwen3", {"template": "qwen", "stage": "pt"}, []),  # which knows no roles
        ([], {"template": "qwen"}, []),
    ],
)
def test_a_model_of_an_unknown_name_is_judged_by_its_type(
    project: Callable[..., Path], model_type: object, settings: dict[str, object], rules: list[str]
) -> None:
    root = project({"mine/config.json": {"model_type": model_type}})
    found = findings(root, model_name_or_path="./mine", **settings)
    assert [finding.rule for finding in found if finding.key == "template"] == rules
