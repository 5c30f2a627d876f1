"""Small config.json contents of every model_type that transformers builds, and arguments, drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

Drawn = dict[str, Any]


def _usual(random: Random, model_type: str) -> Drawn:
    heads = random.choice([2, 4, 8])
    return {
        "model_type": model_type,
        "hidden_size": heads * random.choice([8, 16, 24]),
        "intermediate_size": random.randrange(8, 200),
        "num_hidden_layers": random.choice([2, 3, 4]),
        "num_attention_heads": heads,
        "num_key_value_heads": random.choice([1, 2, heads]),
        "vocab_size": random.randrange(50, 500),
        "tie_word_embeddings": random.random() < 0.5,
        "pad_token_id": 0,
    }


def _with(model_type: str, **more: Callable[[Random], Any]) -> Callable[[Random], Drawn]:
    """The usual fields, and each of `more` in half of the draws: the library's default counts in the rest."""

    def draw(random: Random) -> Drawn:
        chosen = {name: value(random) for name, value in more.items() if random.random() < 0.5}
        return {**_usual(random, model_type), **chosen}

    return draw


def _flag(random: Random) -> bool:
    return random.random() < 0.5


def _head_dim(random: Random) -> int:
    return random.choice([8, 16, 32])


def _width(random: Random) -> int:
    return random.randrange(4, 80)


def _few(random: Random) -> int:
    return random.randrange(1, 5)


def _moe(model_type: str, **more: Callable[[Random], Any]) -> Callable[[Random], Drawn]:
    def draw(random: Random) -> Drawn:
        drawn = _with(
            model_type, decoder_sparse_step=_few, mlp_only_layers=lambda random: [random.randrange(3)], **more
        )(random)
        return {**drawn, "num_experts": random.randrange(4, 9), "moe_intermediate_size": _width(random)}

    return draw


def _omitting(draw: Callable[[Random], Drawn], *names: str) -> Callable[[Random], Drawn]:
    def omit(random: Random) -> Drawn:
        left_out = {name for name in names if _flag(random)}
        return {name: value for name, value in draw(random).items() if name not in left_out}

    return omit


def _qwen_vl(model_type: str) -> Callable[[Random], Drawn]:
    def draw(random: Random) -> Drawn:
        text = _usual(random, f"{model_type}_text")
        tied, width = text.pop("tie_word_embeddings"), random.choice([32, 48])
        vision = {"depth": random.choice([1, 2, 3]), "num_heads": 2, "patch_size": random.choice([4, 14])}
        if model_type == "qwen2_vl":
            vision |= {"embed_dim": width, "hidden_size": text["hidden_size"], "mlp_ratio": _few(random)}
        else:
            vision |= {"hidden_size": width, "out_hidden_size": text["hidden_size"], "intermediate_size": 40}
        outer = {"model_type": model_type, "tie_word_embeddings": tied, "vision_config": vision}
        if _flag(random):
            return {**outer, "text_config": text}
        return {**text, **outer}

    return draw


def _gemma3(random: Random) -> Drawn:
    text = _with("gemma3_text", head_dim=_head_dim)(random)
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": random.choice([1, 2]),
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    if _flag(random):
        vision["vision_use_head"] = _flag(random)
    text.pop("tie_word_embeddings")
    outer = {"model_type": "gemma3", "text_config": text, "vision_config": vision, "mm_tokens_per_image": 4}
    return {**outer, "tie_word_embeddings": _flag(random)} if _flag(random) else outer


def _sparse(model_type: str, **more: Callable[[Random], Any]) -> Callable[[Random], Drawn]:
    """Experts that are routed from some layer on, beside shared ones."""

    def draw(random: Random) -> Drawn:
        drawn = _with(model_type, attention_bias=_flag, first_k_dense_replace=_few, **more)(random)
        return {
            **drawn,
            "n_routed_experts": random.choice([4, 8]),
            "n_shared_experts": _few(random),
            "moe_intermediate_size": _width(random),
            "n_group": 1,
            "topk_group": 1,
            "num_experts_per_tok": 2,
        }

    return draw


def _gpt_oss(random: Random) -> Drawn:
    drawn = _with("gpt_oss", attention_bias=_flag, head_dim=_head_dim)(random)
    return {**drawn, "num_local_experts": random.choice([4, 8])}


def _linear_attention(random: Random) -> Drawn:
    drawn = {"linear_num_key_heads": 2, "linear_num_value_heads": random.choice([2, 4])}
    drawn |= {"linear_key_head_dim": random.choice([8, 16]), "linear_value_head_dim": random.choice([8, 16])}
    return drawn | ({"full_attention_interval": random.choice([2, 3])} if _flag(random) else {})


def _qwen3_next(random: Random) -> Drawn:
    drawn = _moe("qwen3_next", attention_bias=_flag, shared_expert_intermediate_size=_width)(random)
    return {**drawn, **_linear_attention(random)}


def _qwen3_vision(model_type: str, text: Callable[[Random], Drawn]) -> Callable[[Random], Drawn]:
    def draw(random: Random) -> Drawn:
        inner = {**text(random), "model_type": f"{model_type}_text"}
        inner.pop("tie_word_embeddings")
        vision = {
            "depth": random.choice([1, 2]),
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_heads": 2,
            "num_position_embeddings": 16,
            "out_hidden_size": inner["hidden_size"],
        }
        if model_type.startswith("qwen3_vl") and _flag(random):
            vision["deepstack_visual_indexes"] = [0]
        outer = {"model_type": model_type, "text_config": inner, "vision_config": vision}
        return {**outer, "tie_word_embeddings": _flag(random)}

    return draw


def _qwen3_5(model_type: str) -> Callable[[Random], Drawn]:
    def draw(random: Random) -> Drawn:
        drawn = _usual(random, model_type)
        if model_type == "qwen3_5_moe":
            drawn.pop("intermediate_size")
            drawn |= {"num_experts": random.choice([4, 8]), "moe_intermediate_size": _width(random)}
        return {**drawn, "head_dim": _head_dim(random), **_linear_attention(random)}

    return draw


_GEMMA = ("tie_word_embeddings",)
CONFIGS: Mapping[str, Callable[[Random], Drawn]] = {
    "llama": _omitting(
        _with("llama", attention_bias=_flag, mlp_bias=_flag, head_dim=_head_dim),
        "num_key_value_heads",
        "tie_word_embeddings",
    ),
    "mistral": _with("mistral", head_dim=_head_dim),
    "mixtral": _with("mixtral", num_local_experts=_few, head_dim=_head_dim),
    "qwen2": _with("qwen2"),
    "qwen2_moe": _moe("qwen2_moe", shared_expert_intermediate_size=_width, qkv_bias=_flag),
    "qwen3": _with("qwen3", attention_bias=_flag, head_dim=_head_dim),
    "qwen3_moe": _moe("qwen3_moe", attention_bias=_flag, head_dim=_head_dim),
    "gemma": _omitting(_with("gemma", attention_bias=_flag, head_dim=_head_dim), *_GEMMA),
    "gemma2": _omitting(_with("gemma2", attention_bias=_flag, head_dim=_head_dim), *_GEMMA),
    "gemma3_text": _omitting(
        _with("gemma3_text", attention_bias=_flag, head_dim=_head_dim),
        *_GEMMA,
        "vocab_size",
        "num_key_value_heads",
    ),
    "phi3": _omitting(_with("phi3"), "num_key_value_heads"),
    "glm": _omitting(_with("glm", attention_bias=_flag, head_dim=_head_dim), "num_key_value_heads"),
    "glm4": _omitting(_with("glm4", attention_bias=_flag, head_dim=_head_dim), "num_key_value_heads"),
    "qwen2_vl": _qwen_vl("qwen2_vl"),
    "qwen2_5_vl": _qwen_vl("qwen2_5_vl"),
    "gemma3": _gemma3,
    "seed_oss": _omitting(
        _with("seed_oss", attention_bias=_flag, attention_out_bias=_flag, mlp_bias=_flag, head_dim=_head_dim),
        "tie_word_embeddings",
    ),
    "ernie4_5": _omitting(_with("ernie4_5", use_bias=_flag, head_dim=_head_dim), "tie_word_embeddings"),
    "hunyuan_v1_dense": lambda random: {
        **_with("hunyuan_v1_dense", attention_bias=_flag)(random),
        "head_dim": _head_dim(random),
    },
    "gpt_oss": _gpt_oss,
    "glm4_moe": _sparse("glm4_moe", use_qk_norm=_flag, head_dim=_head_dim),
    "deepseek_v3": _sparse("deepseek_v3", q_lora_rank=_width, kv_lora_rank=_width, v_head_dim=_head_dim),
    "qwen3_next": _qwen3_next,
    "qwen3_vl": _qwen3_vision("qwen3_vl", _with("qwen3_vl", attention_bias=_flag)),
    "qwen3_vl_moe": _qwen3_vision("qwen3_vl_moe", _moe("qwen3_vl_moe")),
    "qwen3_5": _qwen3_vision("qwen3_5", _qwen3_5("qwen3_5")),
    "qwen3_5_moe": _qwen3_vision("qwen3_5_moe", _qwen3_5("qwen3_5_moe")),
}
"""By model_type."""

_LINEARS = ("q_proj", "v_proj", "o_proj", "down_proj", "gate_up_proj", "qkv_proj", "lm_head", "embed_tokens")
_FROZEN = ("freeze_vision_tower", "freeze_multi_modal_projector", "freeze_language_model")


def draw_arguments(random: Random) -> Drawn:
    """LLaMA-Factory arguments that bear on what is trained; not all fit all models."""
    drawn: Drawn = {name: _flag(random) for name in _FROZEN if random.random() < 0.3}
    method = random.choice(["lora", "lora", "lora", "oft", "freeze", "full"])
    drawn["finetuning_type"] = method
    if method in ("lora", "oft"):
        if _flag(random):
            drawn["lora_target"] = ",".join(random.sample(_LINEARS, random.randrange(1, 4)))
        targets = drawn.get("lora_target", "")
        if random.random() < 0.4:
            copies = random.choice(["lm_head", "embed_tokens", "embed_tokens,lm_head", "norm", "layernorm"])
            if not any(word in targets for word in copies.split(",")):
                drawn["additional_target"] = copies
        elif random.random() < 0.2:
            drawn["resize_vocab"] = True
    if method == "lora":
        drawn |= {"lora_rank": random.randrange(1, 20), "use_dora": _flag(random)}
        drawn |= {"use_rslora": True} if _flag(random) else {}
    if method == "oft":
        drawn |= random.choice([{"oft_rank": random.randrange(1, 40), "oft_block_size": 0}, {}])
        drawn |= {"oft_block_size": random.randrange(1, 40)} if "oft_rank" not in drawn else {}
    if method == "freeze":
        drawn["freeze_trainable_layers"] = random.choice([-20, -1, 1, 2, 3, 20])
        drawn["freeze_trainable_modules"] = random.choice(
            ["all", "self_attn", "mlp", "self_attn,mlp", "gate"]
        )
        if _flag(random):
            drawn["freeze_extra_modules"] = random.choice(
                ["embed_tokens", "norm", "lm_head", "embed_tokens,norm"]
            )
    if method in ("lora", "freeze") and random.random() < 0.2:
        drawn |= {"use_llama_pro": True, "freeze_trainable_layers": random.choice([1, 2, 5])}
    return drawn
