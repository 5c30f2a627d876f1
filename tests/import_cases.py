"""Configs as people have them: for the fast import tests, and for the round trip through the parser."""

from __future__ import annotations

import json
from typing import Any

HEAD = "model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct\noutput_dir: saves/x\n"
SFT = f"{HEAD}stage: sft\ndo_train: true\ndataset: identity\ntemplate: qwen\n"
PAIRS = f"{HEAD}do_train: true\ndataset: pairs\ntemplate: qwen\n"

# What a rendered config holds in place of the original's own, and what follows from it.
QTUNES_OWN = (
    "output_dir",
    "logging_dir",
    "overwrite_output_dir",
    "dataset_dir",
    "deepspeed",
    "enable_jit_checkpoint",
)

TREE: dict[str, Any] = {
    "qtune.yaml": "presets: [presets]\n",
    "presets/.keep": "",
    "data/dataset_info.json": {
        "identity": {"file_name": "identity.json"},
        "alpaca_en_demo": {"file_name": "alpaca.jsonl", "columns": {"prompt": "q", "response": "a"}},
        "pairs": {
            "file_name": "pairs.jsonl",
            "ranking": True,
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
        },
        "votes": {
            "file_name": "votes.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "kto_tag": "label"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
            },
        },
        "text": {"file_name": "text.jsonl", "columns": {"prompt": "text"}},
        "pictures": {
            "file_name": "pictures.json",
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "images": "images"},
        },
    },
    "data/identity.json": '[{"instruction": "who?", "input": "", "output": "me"}]',
    "data/alpaca.jsonl": [{"q": "who?", "a": "me"}],
    "data/pairs.jsonl": [
        {
            "conversations": [{"from": "human", "value": "a"}],
            "chosen": {"from": "gpt", "value": "b"},
            "rejected": {"from": "gpt", "value": "c"},
        }
    ],
    "data/votes.jsonl": [
        {
            "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "label": True,
        }
    ],
    "data/text.jsonl": [{"text": "a"}],
    "data/pictures.json": json.dumps(
        [
            {
                "conversations": [{"from": "human", "value": "<image>a"}, {"from": "gpt", "value": "b"}],
                "images": ["a.png"],
            }
        ]
    ),
}

_BATCH = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "zero_allow_untested_optimizer": True,
    "fp16": {
        "enabled": "auto",
        "loss_scale": 0,
        "loss_scale_window": 1000,
        "initial_scale_power": 16,
        "hysteresis": 2,
        "min_loss_scale": 1,
    },
    "bf16": {"enabled": "auto"},
}
_BUCKETS = {
    "allgather_partitions": True,
    "allgather_bucket_size": 5e8,
    "overlap_comm": False,
    "reduce_scatter": True,
    "reduce_bucket_size": 5e8,
    "contiguous_gradients": True,
    "round_robin_gradients": True,
}
_CPU = {"device": "cpu", "pin_memory": True}
_STAGE3 = {
    "stage": 3,
    "overlap_comm": False,
    "contiguous_gradients": True,
    "sub_group_size": 1e9,
    "reduce_bucket_size": "auto",
    "stage3_prefetch_bucket_size": "auto",
    "stage3_param_persistence_threshold": "auto",
    "stage3_max_live_parameters": 1e9,
    "stage3_max_reuse_distance": 1e9,
    "stage3_gather_16bit_weights_on_model_save": True,
}
DEEPSPEED: dict[str, Any] = {
    "examples/deepspeed/z0.json": {**_BATCH, "zero_optimization": {"stage": 0, **_BUCKETS}},
    "examples/deepspeed/z2.json": {**_BATCH, "zero_optimization": {"stage": 2, **_BUCKETS}},
    "examples/deepspeed/z2_offload.json": {
        **_BATCH,
        "zero_optimization": {"stage": 2, "offload_optimizer": _CPU, **_BUCKETS},
    },
    "examples/deepspeed/z3.json": {**_BATCH, "zero_optimization": _STAGE3},
    "examples/deepspeed/z3_offload.json": {
        **_BATCH,
        "steps_per_print": 2000,
        "wall_clock_breakdown": False,
        "zero_optimization": {**_STAGE3, "offload_optimizer": _CPU, "offload_param": _CPU},
    },
    # tabs, numbers that agree, and the Trainer's own optimizer written out
    "examples/deepspeed/agrees.json": json.dumps(
        {
            **_BATCH,
            "train_batch_size": 8,
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 8,
            "gradient_clipping": 1.0,
            "bf16": {"enabled": True},
            "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "weight_decay": 0.0}},
            "activation_checkpointing": {"partition_activations": False, "number_checkpoints": None},
            "zero_optimization": {"stage": 2, "reduce_bucket_size": 2e8},
        },
        indent="\t",
    ),
}

LORA_SFT = f"""\
### model
{HEAD}trust_remote_code: true

### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all

### dataset
dataset: identity,alpaca_en_demo
template: qwen
cutoff_len: 2048
max_samples: 1000
preprocessing_num_workers: 16
dataloader_num_workers: 4

### output
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none  # choices: [none, wandb, tensorboard, swanlab, mlflow]

### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
"""

YAMLS: dict[str, str] = {
    "lora_sft": LORA_SFT,
    "lora_eval": f"{LORA_SFT}val_size: 0.1\nper_device_eval_batch_size: 1\neval_strategy: steps\n"
    "eval_steps: 500\n",
    "eval_dataset": f"{SFT}eval_dataset: alpaca_en_demo\neval_strategy: epoch\nsave_strategy: epoch\n",
    "best_model": f"{SFT}val_size: 2\neval_strategy: steps\neval_steps: 50\nsave_steps: 100\n"
    "load_best_model_at_end: true\nmetric_for_best_model: eval_loss\ngreater_is_better: false\n",
    "next_to_nothing": f"{HEAD}dataset: identity\n",
    "does_not_train": f"{HEAD}stage: sft\ndataset: identity\ntemplate: qwen\n",
    "qlora": f"{SFT}quantization_bit: 4\nquantization_method: bnb\ndouble_quantization: false\nbf16: true\n"
    "lora_target: q_proj,v_proj\nlora_alpha: 32\nlora_dropout: 0.05\n",
    "qlora_fp16": f"{SFT}quantization_bit: 8\nfp16: true\nuse_cpu: false\n",
    "full": f"{SFT}finetuning_type: full\nlearning_rate: 1e-5\npure_bf16: true\n",
    "freeze": f"{SFT}finetuning_type: freeze\nfreeze_trainable_layers: 4\nfreeze_trainable_modules: all\n"
    "freeze_extra_modules: embed_tokens,norm\n",
    "dora_rslora": f"{SFT}use_dora: true\nuse_rslora: true\nloraplus_lr_ratio: 16.0\n",
    "pissa": f"{SFT}pissa_init: true\npissa_iter: 16\npissa_convert: true\n",
    "adapter": f"{SFT}adapter_name_or_path: saves/one,saves/two\ncreate_new_adapter: true\n",
    "dpo": f"{PAIRS}stage: dpo\nfinetuning_type: lora\npref_beta: 0.1\npref_loss: sigmoid\n",
    "simpo": f"{PAIRS}stage: dpo\npref_loss: simpo\nsimpo_gamma: 0.7\npref_beta: 2\n",
    "kto": f"{HEAD}stage: kto\ndo_train: true\ndataset: votes\ntemplate: qwen\npref_beta: 0.1\n",
    "reward": f"{PAIRS}stage: rm\n",
    "pretrain": f"{HEAD}stage: pt\ndo_train: true\ndataset: text\ncutoff_len: 512\n",
    "streaming": f"{HEAD}stage: pt\ndo_train: true\ndataset: text\nstreaming: true\nmax_steps: 100\n"
    "dataloader_num_workers: 1\n",
    "packing": f"{SFT}packing: true\ncutoff_len: 4096\n",
    "neat_packing": f"{SFT}neat_packing: true\nflash_attn: fa2\nper_device_train_batch_size: 1\n",
    "multimodal": f"{HEAD}stage: sft\ndo_train: true\ndataset: pictures\ntemplate: qwen2_vl\n"
    "image_max_pixels: 262144\nvideo_max_pixels: 16384\nfreeze_vision_tower: true\n"
    "freeze_multi_modal_projector: false\n",
    "media_dir": f"{SFT}media_dir: /mnt/pictures\n",
    "nulls": f"{SFT}eval_dataset: null\nadapter_name_or_path: null\nlora_alpha: null\ndeepspeed: null\n"
    "max_samples:\nresume_from_checkpoint: null\nquantization_bit: ~\nhf_hub_token: null\nbf16: false\n",
    "exponents": f"{SFT}learning_rate: 1e-4\nweight_decay: 1E-2\nadam_epsilon: 1.0e-08\nmax_grad_norm: .5\n"
    "warmup_steps: 1e1\n",
    "quoting": f"{HEAD}'stage': \"sft\"\n\"do_train\": True\ndataset: 'identity , alpaca_en_demo'\n"
    'template: "qwen"\nrun_name: \'007\'\ndefault_system: "It\'s a \\"test\\": # no comment\\n"\n'
    "additional_target: 'embed_tokens,lm_head'\n",
    "unicode": f"{SFT}default_system: 你是一个乐于助人的助手。 😀\n",
    "lists": f"{HEAD}stage: sft\ndo_train: true\ntemplate: qwen\ndataset: [identity, alpaca_en_demo]\n"
    "report_to: [tensorboard]\nlora_target: [q_proj, k_proj]\ninterleave_probs: 0.3,0.7\n"
    "mix_strategy: interleave_under\n",
    "mappings": f"{SFT}lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs:\n  min_lr: 1e-6\n"
    "gradient_checkpointing_kwargs: '{\"use_reentrant\": true}'\n",
    "warmup_both": f"{SFT}warmup_steps: 20\nwarmup_ratio: 0.05\n",
    "json": json.dumps(
        {
            "model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct",
            "output_dir": "saves/x",
            "stage": "sft",
            "do_train": True,
            "dataset": "identity",
            "template": "qwen",
            "learning_rate": 2e-05,
            "val_size": 0.1,
        },
        indent="\t",
    ),
    "crlf": SFT.replace("\n", "\r\n"),
    "bases_own_values": f"{SFT}warmup_steps: 0.1\nsave_steps: 0.1\nlogging_steps: 5\nsave_total_limit: 2\n"
    "plot_loss: true\nreport_to: tensorboard\ninclude_num_input_tokens_seen: true\n",
    **{
        name: f"{SFT}bf16: true\nper_device_train_batch_size: 1\ngradient_accumulation_steps: 8\n"
        f"deepspeed: examples/deepspeed/{name}.json\n"
        for name in ("z0", "z2", "z2_offload", "z3", "z3_offload", "agrees")
    },
    "inline_deepspeed": f"{SFT}bf16: true\n"
    f"deepspeed: {json.dumps(DEEPSPEED['examples/deepspeed/z2.json'])}\n",
}
"""Train configs that this release's parser takes as they are, by name."""

BOARD_PREVIEW = """\
```bash
llamafactory-cli train \\
    --stage sft \\
    --do_train True \\
    --model_name_or_path Qwen/Qwen2.5-0.5B-Instruct \\
    --preprocessing_num_workers 16 \\
    --finetuning_type lora \\
    --template qwen \\
    --flash_attn auto \\
    --dataset_dir data \\
    --dataset identity,alpaca_en_demo \\
    --cutoff_len 2048 \\
    --learning_rate 5e-05 \\
    --num_train_epochs 3.0 \\
    --max_samples 100000 \\
    --per_device_train_batch_size 2 \\
    --gradient_accumulation_steps 8 \\
    --lr_scheduler_type cosine \\
    --max_grad_norm 1.0 \\
    --logging_steps 5 \\
    --save_steps 100 \\
    --warmup_steps 0 \\
    --packing False \\
    --enable_thinking True \\
    --report_to none \\
    --output_dir saves/Qwen2.5-0.5B-Instruct/lora/train_2025-01-01-10-00-00 \\
    --bf16 True \\
    --plot_loss True \\
    --trust_remote_code True \\
    --ddp_timeout 180000000 \\
    --include_num_input_tokens_seen True \\
    --optim adamw_torch \\
    --lora_rank 8 \\
    --lora_alpha 16 \\
    --lora_dropout 0 \\
    --lora_target all
```
"""

SCRIPTS: dict[str, str] = {
    "board": BOARD_PREVIEW,
    "variables": """\
#!/usr/bin/env bash
set -euo pipefail
# llamafactory-cli train with our defaults
export WANDB_API_KEY=do-not-copy-me   # ours
export CUDA_VISIBLE_DEVICES=0,1
MODEL="Qwen/Qwen2.5-0.5B-Instruct"
LR=${LR:-1e-4}
RANK_OF_LORA="${RANK_OF_LORA:-16}"
EXTRA="--lora_rank $RANK_OF_LORA --lora_dropout 0.1"

mkdir -p out/$LR
llamafactory-cli train \\
    --stage sft --do_train \\
    --model_name_or_path "$MODEL" --template qwen \\
    --dataset identity --default_system 'costs $5, not "${MODEL}"' \\
    --learning_rate=${LR} $EXTRA --no_enable_thinking \\
    --output_dir "out/$(date +%F)" 2>&1 | tee log.txt
""",
    "torchrun": """\
GPUS=4
DISTRIBUTED_ARGS=(
    --nproc_per_node $GPUS --nnodes 1
    --node_rank 0 --master_addr 127.0.0.1 --master_port 29500
)
torchrun "${DISTRIBUTED_ARGS[@]}" src/train.py \\
    --stage sft --do_train true --model_name_or_path Qwen/Qwen2.5-0.5B-Instruct \\
    --dataset identity --template qwen --deepspeed examples/deepspeed/z3.json \\
    --per_device_train_batch_size 2 --bf16 --output_dir out
""",
    "deepspeed": """\
deepspeed --num_gpus 2 --master_port=9901 src/train_bash.py \\
    --deepspeed examples/deepspeed/z2.json \\
    --stage sft --do_train \\
    --model_name_or_path Qwen/Qwen2.5-0.5B-Instruct \\
    --dataset identity --template qwen --lora_target q_proj,v_proj \\
    --output_dir out --overwrite_output_dir --fp16
""",
    "file": """\
FORCE_TORCHRUN=1 NPROC_PER_NODE=2 llamafactory-cli train configs/lora_sft.yaml \\
    learning_rate=2e-5 lora_target=q_proj,v_proj val_size=0.2
""",
    "python": """\
CUDA_VISIBLE_DEVICES=0 python src/train.py \\
  --stage pt --do_train --model_name_or_path Qwen/Qwen2.5-0.5B-Instruct --dataset text \\
  --output_dir out --lr_scheduler_kwargs '{"num_cycles": 2}' --additional_target embed_tokens,lm_head
""",
}
"""Scripts that this release takes as they are, by name."""

PROCESSES = {"board": None, "variables": 2, "torchrun": 4, "deepspeed": 2, "file": 2, "python": 1}
"""The launch.nproc_per_node that each script comes to, None where it leaves that open."""

FULL, PT, ORPO = "finetuning_type: full\n", "stage: pt\n", "stage: orpo\n"
PPO = "stage: ppo\nreward_model: saves/rm\n"

RENAMED_CASES: dict[str, list[tuple[str, str | None]]] = {
    "prompt_template": [
        ("prompt_template: qwen", "template: qwen"),
        ("prompt_template: vanilla", "template: empty"),
    ],
    "dev_ratio": [("dev_ratio: 0.1", "val_size: 0.1")],
    "source_prefix": [("source_prefix: ''", ""), ("source_prefix: 'say:'", None)],
    "padding_side": [("padding_side: left", "")],
    "max_source_length": [
        ("max_source_length: 300", "cutoff_len: 812"),
        (f"{PT}max_source_length: 300", f"{PT}cutoff_len: 300"),
        ("max_source_length: 300\nmax_target_length: 200", "cutoff_len: 500"),
    ],
    "max_target_length": [("max_target_length: 100", "cutoff_len: 612")],
    "num_hidden_layers": [("num_hidden_layers: 32", "")],
    "compute_dtype": [("compute_dtype: float16", "")],
    "use_auth_token": [("use_auth_token: true", "")],
    "dpo_ref_model": [("dpo_ref_model: ref", "ref_model: ref")],
    "dpo_ref_model_checkpoint": [("dpo_ref_model_checkpoint: ref", "ref_model_adapters: ref")],
    "checkpoint_dir": [
        ("checkpoint_dir: one,two", "adapter_name_or_path: one,two"),
        (f"{FULL}checkpoint_dir: one,two", None),
    ],
    "resume_lora_training": [
        ("resume_lora_training: false", "create_new_adapter: true"),
        ("resume_lora_training: true", "create_new_adapter: false"),
    ],
    "system_prompt": [
        ("system_prompt: Be brief.", "default_system: Be brief."),
        ("system_prompt: a|b", None),
    ],
    "neft_alpha": [("neft_alpha: 5", "neftune_noise_alpha: 5"), ("neft_alpha: 0", "")],
    "ref_model_checkpoint": [("ref_model_checkpoint: ref", "ref_model_adapters: ref")],
    "reward_model_checkpoint": [("reward_model_checkpoint: rm", "reward_model_adapters: rm")],
    "sft_packing": [("sft_packing: true", "packing: true")],
    "lora_bf16_mode": [("lora_bf16_mode: true", "pure_bf16: true"), ("lora_bf16_mode: false", "")],
    "disable_version_checking": [("disable_version_checking: true", "")],
    "ppo_logger": [
        ("ppo_logger: wandb", ""),
        (f"{PPO}ppo_logger: wandb", f"{PPO}report_to: wandb"),
    ],
    "cache_path": [("cache_path: cached", "tokenized_path: cached")],
    "num_layer_trainable": [("num_layer_trainable: 3", "freeze_trainable_layers: 3")],
    "name_module_trainable": [
        ("name_module_trainable: mlp,self_attn", "freeze_trainable_modules: mlp,self_attn")
    ],
    "badam_switch_block_every": [("badam_switch_block_every: 20", "badam_switch_interval: 20")],
    "dpo_beta": [("dpo_beta: 0.2", "pref_beta: 0.2")],
    "dpo_loss": [("dpo_loss: ipo", "pref_loss: ipo")],
    "dpo_ftx": [("dpo_ftx: 0.5", "pref_ftx: 0.5")],
    "orpo_beta": [
        ("orpo_beta: 0.2", ""),
        (f"{ORPO}orpo_beta: 0.2", "stage: dpo\npref_loss: orpo\npref_beta: 0.2"),
    ],
    "vllm_dtype": [("vllm_dtype: float16", "infer_dtype: float16")],
    "split": [("split: train", ""), ("split: 'train[:10%]'", None)],
    "reserved_label_len": [("reserved_label_len: 1", "")],
    "visual_inputs": [("visual_inputs: true", "")],
    "train_mm_proj_only": [
        (
            f"{FULL}train_mm_proj_only: true",
            f"{FULL}freeze_vision_tower: true\nfreeze_language_model: true\n"
            "freeze_multi_modal_projector: false",
        ),
        ("train_mm_proj_only: false", ""),
    ],
    "image_resolution": [("image_resolution: 262144", "image_max_pixels: 262144")],
    "video_resolution": [("video_resolution: 16384", "video_max_pixels: 16384")],
    "image_dir": [("image_dir: pictures", "media_dir: pictures")],
    "new_special_tokens": [("new_special_tokens: <a>,<b>", "add_special_tokens: <a>,<b>")],
    "ray_run_name": [("ray_run_name: x", "")],
    "ray_storage_path": [("ray_storage_path: ./saves", "")],
    "ray_storage_filesystem": [("ray_storage_filesystem: s3", "")],
    "resources_per_worker": [("resources_per_worker:\n  GPU: 1", "")],
    "placement_strategy": [("placement_strategy: PACK", "")],
    "kt_optimize_rule": [
        ("kt_optimize_rule: rule.yaml", ""),
        ("use_kt: true\nkt_optimize_rule: rule.yaml", None),
    ],
    "cpu_infer": [("cpu_infer: 32", "")],
    "chunk_size": [("chunk_size: 8192", "")],
    "mode": [("mode: normal", "")],
    "kt_maxlen": [("kt_maxlen: 4096", "")],
    "kt_use_cuda_graph": [("kt_use_cuda_graph: true", "")],
    "kt_mode": [("kt_mode: normal", "")],
    "kt_force_think": [("kt_force_think: false", "")],
    "warmup_ratio": [("warmup_ratio: 0.03", "warmup_steps: 0.03")],
    "per_gpu_train_batch_size": [("per_gpu_train_batch_size: 3", "per_device_train_batch_size: 3")],
    "per_gpu_eval_batch_size": [("per_gpu_eval_batch_size: 3", "per_device_eval_batch_size: 3")],
    "no_cuda": [("no_cuda: true", "use_cpu: true")],
    "adafactor": [("adafactor: true", "optim: adafactor"), ("adafactor: false", "")],
    "group_by_length": [("group_by_length: true", "train_sampling_strategy: group_by_length")],
    "save_safetensors": [("save_safetensors: false", "")],
    "half_precision_backend": [("half_precision_backend: auto", ""), ("half_precision_backend: apex", None)],
    "fp16_backend": [("fp16_backend: auto", "")],
    "fp16_opt_level": [("fp16_opt_level: O1", "")],
    "include_tokens_per_second": [("include_tokens_per_second: true", "include_num_input_tokens_seen: true")],
    "include_inputs_for_metrics": [("include_inputs_for_metrics: true", "include_for_metrics: [inputs]")],
    "push_to_hub_model_id": [("push_to_hub_model_id: us/x", "hub_model_id: us/x")],
    "fsdp_transformer_layer_cls_to_wrap": [
        (
            "fsdp_transformer_layer_cls_to_wrap: LlamaDecoderLayer",
            "fsdp_config: {transformer_layer_cls_to_wrap: LlamaDecoderLayer}",
        ),
        ("fsdp_transformer_layer_cls_to_wrap: LlamaDecoderLayer\nfsdp_config: {xla: false}", None),
    ],
    "fsdp_min_num_params": [
        ("fsdp_min_num_params: 2000", "fsdp_config: {min_num_params: 2000}"),
        ("fsdp_min_num_params: 0", ""),
    ],
    "evaluate_during_training": [("evaluate_during_training: false", "")],
}
"""For each argument of an older release: lines that use it, and today's lines; None where it is refused."""

VALUE_CASES: dict[tuple[str, str | bool], tuple[str, str | None]] = {
    ("stage", "orpo"): ("stage: orpo", "stage: dpo\npref_loss: orpo"),
    ("finetuning_type", "none"): ("finetuning_type: none", None),
    ("flash_attn", True): ("flash_attn: true", "flash_attn: fa2"),
    ("flash_attn", False): ("flash_attn: false", "flash_attn: auto"),
    ("flash_attn", "off"): ("flash_attn: 'off'", "flash_attn: disabled"),
    ("quantization_method", "bitsandbytes"): (
        "quantization_bit: 4\nquantization_method: bitsandbytes",
        "quantization_bit: 4\nquantization_method: bnb",
    ),
    ("lora_target", "all-linear"): ("lora_target: all-linear", "lora_target: all"),
    ("template", "vanilla"): ("template: vanilla", "template: empty"),
    ("template", "chatglm3_raw"): ("template: chatglm3_raw", "template: chatglm3"),
    ("template", "chatglm3_system"): ("template: chatglm3_system", "template: chatglm3"),
    ("template", "qwen2"): ("template: qwen2", "template: qwen"),
    ("template", "qwen25"): ("template: qwen25", "template: qwen"),
    ("template", "qwen2.5"): ("template: qwen2.5", "template: qwen"),
}
"""For each value of an older release: lines that use it, and today's; None where it is refused."""

_PLAIN = {"stage": "stage: sft\n", "template": "template: qwen\n"}


def older(lines: str) -> str:
    """A whole config around `lines`, which may set its stage and template themselves."""
    rest = "".join(
        line
        for key, line in _PLAIN.items()
        if not any(said.startswith((f"{key}:", f"prompt_{key}:")) for said in lines.splitlines())
    )
    data = "pairs" if "stage: orpo" in lines or "stage: dpo" in lines else "identity"
    return f"{HEAD}do_train: true\ndataset: {data}\n{rest}{lines}\n"
