"""The families whose code comes with the checkpoint (`trust_remote_code`), not with transformers.

Source: modeling_chatglm.py of THUDM/chatglm3-6b and glm-4-9b-chat, modeling_internlm2.py of
internlm/internlm2-chat-7b, modeling_internlm3.py of internlm/internlm3-8b-instruct.
"""

from __future__ import annotations

from collections.abc import Mapping

from qtune.predict.models.decoder import (
    Family,
    Sizes,
    attention,
    decoder,
    gated_mlp,
    layer_norm,
    linear,
    rms_norm,
    single,
)
from qtune.predict.models.fields import Fields
from qtune.predict.models.shapes import Module


def _chatglm_sizes(config: Fields) -> Sizes:
    heads = config.count("num_attention_heads")
    grouped = config.flag("multi_query_attention")
    return Sizes(
        config.count("hidden_size"),
        config.count("ffn_hidden_size"),
        config.layers("num_layers"),
        heads,
        config.count("multi_query_group_num") if grouped else heads,
        config.count("kv_channels"),
        config.count("padded_vocab_size", config.maybe("vocab_size")),
        config.flag("tie_word_embeddings"),
    )


def _chatglm(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias, norm = config.flag("add_bias_linear"), rms_norm if config.flag("rmsnorm") else layer_norm
    qkv_bias, width = bias or config.flag("add_qkv_bias"), of.query + 2 * of.key_value
    modules = [single("transformer.embedding.word_embeddings", "embedding", of.vocabulary, of.hidden)]
    for number in range(of.layers):
        name = f"transformer.encoder.layers.{number}."
        modules += (
            norm(f"{name}input_layernorm", of.hidden),
            linear(f"{name}self_attention.query_key_value", of.hidden, width, qkv_bias),
            linear(f"{name}self_attention.dense", of.query, of.hidden, bias),
            norm(f"{name}post_attention_layernorm", of.hidden),
            linear(f"{name}mlp.dense_h_to_4h", of.hidden, 2 * of.intermediate, bias),
            linear(f"{name}mlp.dense_4h_to_h", of.intermediate, of.hidden, bias),
        )
    if config.flag("post_layer_norm"):
        modules.append(norm("transformer.encoder.final_layernorm", of.hidden))
    modules.append(linear("transformer.output_layer", of.hidden, of.vocabulary))
    return tuple(modules)


def _internlm2(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias = config.flag("bias")
    modules = [single("model.tok_embeddings", "embedding", of.vocabulary, of.hidden)]
    for number in range(of.layers):
        name = f"model.layers.{number}."
        modules += (
            linear(f"{name}attention.wqkv", of.hidden, of.query + 2 * of.key_value, bias),
            linear(f"{name}attention.wo", of.query, of.hidden, bias),
            linear(f"{name}feed_forward.w1", of.hidden, of.intermediate),
            linear(f"{name}feed_forward.w3", of.hidden, of.intermediate),
            linear(f"{name}feed_forward.w2", of.intermediate, of.hidden),
            single(f"{name}attention_norm", "norm", of.hidden),
            single(f"{name}ffn_norm", "norm", of.hidden),
        )
    modules.append(single("model.norm", "norm", of.hidden))
    return (*modules, linear("output", of.hidden, of.vocabulary))


def _internlm3(config: Fields, of: Sizes) -> tuple[Module, ...]:
    bias = config.flag("bias")
    attend = attention(of, qkv_bias=config.flag("qkv_bias"), o_bias=bias)
    return decoder(of, attend, gated_mlp(of.hidden, of.intermediate, bias=bias))


OWN_CODE: Mapping[str, Family] = {
    "chatglm": Family(_chatglm, _chatglm_sizes),
    "internlm2": Family(_internlm2),
    "internlm3": Family(_internlm3),
}
"""By model_type."""
