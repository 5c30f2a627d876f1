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


def _renamed_experts(draw: Callable[[Random], Drawn]) -> Callable[[Random], Drawn]:
    """The number of experts as transformers 5 saves it, in half of the draws."""

    def rename(random: Random) -> Drawn:
        drawn = draw(random)
        return drawn | {"num_local_experts": drawn.pop("num_experts")} if _flag(random) else drawn

    return rename


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


def _beside_shared(model_type: str, **more: Callable[[Random], Any]) -> Callable[[Random], Drawn]:
    """As `_sparse`, where queries, keys and values may go through narrow layers."""
    rotated = {"qk_rope_head_dim": _head_dim, "qk_nope_head_dim": _head_dim}
    return _sparse(
        model_type, kv_lora_rank=_width, q_lora_rank=_width, v_head_dim=_head_dim, **rotated, **more
    )


def _ernie4_5_moe(random: Random) -> Drawn:
    drawn = _with(
        "ernie4_5_moe",
        use_bias=_flag,
        head_dim=_head_dim,
        moe_num_shared_experts=lambda random: random.randrange(3),
        moe_layer_interval=lambda random: random.choice([1, 2]),
        moe_layer_start_index=lambda random: random.choice([0, 1, 2]),
        moe_layer_end_index=lambda random: random.choice([-1, 1, 2]),
    )(random)
    return {**drawn, "moe_num_experts": random.randrange(4, 9), "moe_intermediate_size": _width(random)}


def _with_experts(model_type: str, **more: Callable[[Random], Any]) -> Callable[[Random], Drawn]:
    """The number of experts by either of its names."""

    def draw(random: Random) -> Drawn:
        name = random.choice(["num_experts", "num_local_experts"])
        return {**_with(model_type, **more)(random), name: random.randrange(4, 9), "num_experts_per_tok": 2}

    return draw


def _layers_of(*kinds: str) -> Callable[[Random], list[str]]:
    """More of them than the usual fields have layers."""
    return lambda random: [random.choice(kinds) for _ in range(4)]


def _of_as_many_layers(draw: Callable[[Random], Drawn]) -> Callable[[Random], Drawn]:
    def cut(random: Random) -> Drawn:
        drawn = draw(random)
        types = drawn.get("layer_types")
        return {**drawn, "layer_types": types[: drawn["num_hidden_layers"]]} if types else drawn

    return cut


def _lfm2_moe(random: Random) -> Drawn:
    drawn = _with("lfm2_moe", conv_bias=_flag, conv_L_cache=_few, num_dense_layers=_few, tie_embedding=_flag)
    return {**drawn(random), "layer_types": _layers_of("conv", "full_attention")(random)}


def _mamba(model_type: str, **more: Callable[[Random], Any]) -> Callable[[Random], Drawn]:
    def draw(random: Random) -> Drawn:
        drawn = _with(
            model_type,
            attention_bias=_flag,
            mamba_conv_bias=_flag,
            mamba_proj_bias=_flag,
            mamba_n_groups=lambda random: random.choice([1, 2]),
            mamba_d_state=_head_dim,
            mamba_d_conv=lambda random: random.choice([2, 4]),
            head_dim=_head_dim,
            **more,
        )(random)
        return {**drawn, "mamba_n_heads": 4, "mamba_d_head": drawn["hidden_size"] // 2, "mamba_expand": 2}

    return draw


def _composed(
    model_type: str, text: Callable[[Random], Drawn], tower: str | None, **more: Callable[[Random], Any]
) -> Callable[[Random], Drawn]:
    """tower: the model_type in `vision_config`, which has none where it is the model's own."""

    def draw(random: Random) -> Drawn:
        vision: Drawn = {
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_hidden_layers": random.choice([1, 2]),
            "num_attention_heads": 2,
            "image_size": random.choice([28, 56]),
            "patch_size": 14,
        }
        if tower:
            vision["model_type"] = tower
        if tower == "siglip_vision_model" and _flag(random):
            vision["vision_use_head"] = _flag(random)
        if model_type == "internvl":
            flags = ("use_qk_norm", "attention_bias", "use_mask_token", "use_mean_pooling")
            vision |= {flag: _flag(random) for flag in flags if _flag(random)}
        chosen = {name: value(random) for name, value in more.items() if _flag(random)}
        tied = {"tie_word_embeddings": _flag(random)} if _flag(random) else {}
        return {
            "model_type": model_type,
            "text_config": text(random),
            "vision_config": vision,
            **chosen,
            **tied,
        }

    return draw


def _glm_vision(model_type: str, text: Callable[[Random], Drawn]) -> Callable[[Random], Drawn]:
    def draw(random: Random) -> Drawn:
        inner = {**text(random), "model_type": f"{model_type}_text"}
        tied = inner.pop("tie_word_embeddings")
        vision = {
            "depth": random.choice([1, 2]),
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 40,
            "image_size": 56,
            "out_hidden_size": inner["hidden_size"],
            "attention_bias": _flag(random),
        }
        return {
            "model_type": model_type,
            "text_config": inner,
            "vision_config": vision,
            "tie_word_embeddings": tied,
        }

    return draw


def _llama4(random: Random) -> Drawn:
    text = {**_usual(random, "llama4_text"), "num_local_experts": 2, "intermediate_size_mlp": 24}
    text["tie_word_embeddings"] = False
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": random.choice([1, 2]),
        "num_attention_heads": 2,
        "intermediate_size": 128,
        "vision_output_dim": 48,
        "image_size": 56,
        "projector_input_dim": 48,
        "projector_output_dim": 48,
    }
    return {"model_type": "llama4", "text_config": text, "vision_config": vision}


def _mllama(random: Random) -> Drawn:
    text = {**_usual(random, "mllama_text_model"), "cross_attention_layers": [random.randrange(2)]}
    text["tie_word_embeddings"] = False
    vision = {
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_global_layers": random.choice([1, 2]),
        "attention_heads": 2,
        "image_size": 56,
        "vision_output_dim": 64,
        "intermediate_layers_indices": [0],
    }
    return {"model_type": "mllama", "text_config": text, "vision_config": vision}


def _gemma4_text(random: Random) -> Drawn:
    drawn = _with(
        "gemma4_text",
        attention_bias=_flag,
        head_dim=_head_dim,
        global_head_dim=_head_dim,
        use_double_wide_mlp=_flag,
        hidden_size_per_layer_input=lambda random: random.choice([0, 12]),
        layer_types=_layers_of("sliding_attention", "full_attention"),
    )
    drawn = _of_as_many_layers(drawn)(random) | {"vocab_size_per_layer_input": 100}
    if types := drawn.get("layer_types"):
        types[0] = types[-1] = "full_attention"
        if "sliding_attention" not in types[1:]:
            drawn["num_kv_shared_layers"] = random.choice([0, 1])
    if _flag(random):
        drawn |= {"attention_k_eq_v": _flag(random), "num_global_key_value_heads": 1}
    if _flag(random):
        drawn |= {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2}
        drawn["moe_intermediate_size"] = _width(random)
    return drawn


def _gemma4(random: Random) -> Drawn:
    text = _gemma4_text(random)
    text.pop("tie_word_embeddings")
    drawn: Drawn = {"model_type": "gemma4", "text_config": text, "tie_word_embeddings": _flag(random)}
    if _flag(random):
        drawn["vision_config"] = {
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": random.choice([1, 2]),
            "head_dim": _head_dim(random),
            "patch_size": 4,
            "position_embedding_size": 64,
        }
    if _flag(random):
        drawn["audio_config"] = {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "subsampling_conv_channels": [8, 4],
            "output_proj_dims": 24,
        }
    return drawn


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
    "qwen3_moe": _renamed_experts(_moe("qwen3_moe", attention_bias=_flag, head_dim=_head_dim)),
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
    "smollm3": _omitting(
        _with("smollm3", attention_bias=_flag, mlp_bias=_flag, head_dim=_head_dim),
        "num_key_value_heads",
        "tie_word_embeddings",
    ),
    "granite": _with("granite", attention_bias=_flag, mlp_bias=_flag, head_dim=_head_dim),
    "ministral3": _omitting(_with("ministral3", head_dim=_head_dim), "num_key_value_heads"),
    "olmo": _omitting(_with("olmo", attention_bias=_flag, head_dim=_head_dim), "num_key_value_heads"),
    "olmo2": _with("olmo2", attention_bias=_flag, head_dim=_head_dim),
    "olmo3": _with("olmo3", attention_bias=_flag, head_dim=_head_dim),
    "exaone4": _with("exaone4", head_dim=_head_dim),
    "cohere": _omitting(_with("cohere", attention_bias=_flag, use_qk_norm=_flag), "tie_word_embeddings"),
    "cohere2": _omitting(_with("cohere2", attention_bias=_flag), "tie_word_embeddings"),
    "starcoder2": _omitting(
        _with("starcoder2", use_bias=_flag, head_dim=_head_dim), "num_key_value_heads", "tie_word_embeddings"
    ),
    "nemotron": _with("nemotron", attention_bias=_flag, mlp_bias=_flag, head_dim=_head_dim),
    "phi": _omitting(_with("phi", qk_layernorm=_flag), "num_key_value_heads"),
    "llama4_text": lambda random: {
        **_with(
            "llama4_text",
            attention_bias=_flag,
            head_dim=_head_dim,
            interleave_moe_layer_step=_few,
            moe_layers=lambda random: [random.randrange(2)],
        )(random),
        "num_local_experts": random.randrange(2, 5),
        "intermediate_size_mlp": _width(random),
    },
    "olmoe": _with_experts("olmoe", attention_bias=_flag),
    "phimoe": lambda random: {
        **_with("phimoe", attention_bias=_flag, lm_head_bias=_flag)(random),
        "num_local_experts": random.randrange(2, 9),
    },
    "minimax_m2": _omitting(_with_experts("minimax_m2", head_dim=_head_dim), "num_key_value_heads"),
    "hunyuan_v1_moe": lambda random: {
        **_with_experts("hunyuan_v1_moe", attention_bias=_flag)(random),
        "head_dim": _head_dim(random),
    },
    "granitemoe": _with("granitemoe", attention_bias=_flag, num_local_experts=_few, head_dim=_head_dim),
    "granitemoeshared": _with("granitemoeshared", num_local_experts=_few, shared_intermediate_size=_width),
    "dots1": _sparse("dots1", head_dim=_head_dim),
    "deepseek_v2": _beside_shared("deepseek_v2", mlp_bias=_flag),
    "glm4_moe_lite": _beside_shared("glm4_moe_lite"),
    "ernie4_5_moe": _omitting(_ernie4_5_moe, "tie_word_embeddings"),
    "lfm2": _of_as_many_layers(
        _with(
            "lfm2",
            conv_bias=_flag,
            conv_L_cache=_few,
            block_auto_adjust_ff_dim=_flag,
            block_multiple_of=lambda random: random.choice([16, 64]),
            block_ffn_dim_multiplier=lambda random: random.choice([1.0, 1.3]),
            block_ff_dim=lambda random: 10 * _width(random),
            tie_embedding=_flag,
            full_attn_idxs=lambda random: [random.randrange(3)],
            layer_types=_layers_of("conv", "full_attention"),
        )
    ),
    "lfm2_moe": lambda random: {
        **_of_as_many_layers(_lfm2_moe)(random),
        "num_experts": random.randrange(4, 9),
        "moe_intermediate_size": _width(random),
    },
    "granitemoehybrid": _of_as_many_layers(
        _mamba(
            "granitemoehybrid",
            num_local_experts=lambda random: random.choice([0, 4]),
            shared_intermediate_size=_width,
            layer_types=_layers_of("mamba", "attention"),
        )
    ),
    "bamba": _omitting(
        _mamba("bamba", mlp_bias=_flag, attn_layer_indices=lambda random: [random.randrange(2)]),
        "num_key_value_heads",
    ),
    "llava": _composed(
        "llava",
        _omitting(_with("llama"), "hidden_size", "intermediate_size"),
        "clip_vision_model",
        multimodal_projector_bias=_flag,
    ),
    "llava_next": _composed("llava_next", _with("mistral"), "clip_vision_model"),
    "llava_onevision": _composed("llava_onevision", _with("qwen2"), "siglip_vision_model"),
    "internvl": _composed("internvl", _with("qwen3", head_dim=_head_dim), None),
    "mistral3": _composed(
        "mistral3", _with("mistral"), "pixtral", spatial_merge_size=_few, multimodal_projector_bias=_flag
    ),
    "paligemma": _composed(
        "paligemma", _with("gemma2", head_dim=_head_dim), "siglip_vision_model", projection_dim=_width
    ),
    "idefics3": _composed("idefics3", _with("llama"), None, scale_factor=_few),
    "smolvlm": _composed("smolvlm", _with("llama"), None, scale_factor=_few),
    "gemma4_text": _gemma4_text,
    "gemma4": _gemma4,
    "glm4v": _glm_vision("glm4v", _with("glm4v")),
    "glm4v_moe": _glm_vision("glm4v_moe", _sparse("glm4v_moe")),
    "llama4": _llama4,
    "mllama": _mllama,
    "falcon_h1": lambda random: {
        **_mamba("falcon_h1", mlp_bias=_flag, projectors_bias=_flag, mamba_rms_norm=_flag)(random),
        "mamba_d_ssm": random.choice([32, 64]),
        "mamba_d_head": "auto",
    },
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
