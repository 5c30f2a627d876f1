"""Make tiny-qwen2, a Qwen2 model with random weights, small enough to ship with the demo data.

It stands in for a real model wherever only the mechanics matter: the quick start and the end-to-end tests
train it on a CPU in seconds, without a download. Its answers mean nothing.

The same inputs give the same bytes, so the shipped folder can be checked against this script. After a change
here or in demo.jsonl (the tokenizer is trained on it), run the script again:

    python data/make_tiny_qwen2.py [output directory, by default tiny-qwen2 beside this file]

Needs tokenizers, safetensors and numpy, all of which LLaMA-Factory brings along.
"""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
from safetensors.numpy import save
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent

SEED = 20240607
VOCAB_SIZE = 1280
# Every matrix holds a multiple of 64 elements, the block size of 4-bit quantization in bitsandbytes.
HIDDEN_SIZE = 64
INTERMEDIATE_SIZE = 128
LAYERS = 2
HEADS = 4
KEY_VALUE_HEADS = 2
KEY_VALUE_SIZE = HIDDEN_SIZE // HEADS * KEY_VALUE_HEADS
# Five times Qwen2's own: with 0.02 the frozen output layer is so flat that LoRA can hardly lower the loss.
INITIALIZER_RANGE = 0.1

MAX_LENGTH = 4096
# Qwen's own, and as there at the end of the vocabulary.
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PAD, EOS = SPECIAL_TOKENS[0], SPECIAL_TOKENS[2]
PAD_ID, EOS_ID = VOCAB_SIZE - 3, VOCAB_SIZE - 1

# The split of transformers' tokenization_qwen2.py (PRETOKENIZE_REGEX).
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The default system prompt of Qwen2.5, which LLaMA-Factory's `template: qwen` puts before every example.
SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
# The part of Qwen2.5's chat template that does not concern tools.
CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' %}"
    "{{- '<|im_start|>system\\n" + SYSTEM + "<|im_end|>\\n' }}"
    "{%- endif %}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- endif %}"
)

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "dtype": "float32",
    "eos_token_id": EOS_ID,
    "hidden_act": "silu",
    "hidden_size": HIDDEN_SIZE,
    "initializer_range": INITIALIZER_RANGE,
    "intermediate_size": INTERMEDIATE_SIZE,
    "max_position_embeddings": MAX_LENGTH,
    "max_window_layers": LAYERS,
    "model_type": "qwen2",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": KEY_VALUE_HEADS,
    "pad_token_id": PAD_ID,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": VOCAB_SIZE,
}
GENERATION_CONFIG = {
    "do_sample": False,
    "eos_token_id": [EOS_ID, PAD_ID],
    "max_new_tokens": 64,  # an untrained model seldom stops by itself
    "pad_token_id": PAD_ID,
}
TOKENIZER_CONFIG = {
    "add_bos_token": False,
    "add_prefix_space": False,
    "additional_special_tokens": SPECIAL_TOKENS[1:],
    "bos_token": None,
    "chat_template": CHAT_TEMPLATE,
    "clean_up_tokenization_spaces": False,
    "eos_token": EOS,
    "errors": "replace",
    "model_max_length": MAX_LENGTH,
    "pad_token": PAD,
    "split_special_tokens": False,
    "tokenizer_class": "Qwen2Tokenizer",
    "unk_token": None,
}


def training_text() -> Iterator[str]:
    """The demo as the model meets it: the words around each example deserve short encodings too."""
    for line in (HERE / "demo.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield f"system\n{SYSTEM}"
        yield f"user\n{row['instruction']}\n{row['input']}".rstrip("\n")
        yield f"assistant\n{row['output']}"


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(SPECIAL_TOKENS),
        min_frequency=2,
        # All 256 bytes, so that nothing is unknown.
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(training_text(), trainer)
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    if made.get_vocab_size() != VOCAB_SIZE:
        raise SystemExit(
            f"demo.jsonl gives {made.get_vocab_size()} tokens: lower VOCAB_SIZE, now {VOCAB_SIZE}"
        )
    return made


def weights() -> dict[str, numpy.ndarray]:
    """Uniform values of the usual spread, from Python's generator: its stream and the arithmetic here are the
    same on every machine, while normal variates go through the machine's own logarithms and cosines."""
    generator = random.Random(SEED)
    half_width = INITIALIZER_RANGE * 3**0.5

    def matrix(rows: int, columns: int) -> numpy.ndarray:
        values = [(2 * generator.random() - 1) * half_width for _ in range(rows * columns)]
        return numpy.array(values, dtype="<f4").reshape(rows, columns)

    def zeros(size: int) -> numpy.ndarray:
        return numpy.zeros(size, dtype="<f4")

    def ones() -> numpy.ndarray:
        return numpy.ones(HIDDEN_SIZE, dtype="<f4")

    tensors = {"model.embed_tokens.weight": matrix(VOCAB_SIZE, HIDDEN_SIZE), "model.norm.weight": ones()}
    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        tensors[f"{layer}.input_layernorm.weight"] = ones()
        tensors[f"{layer}.post_attention_layernorm.weight"] = ones()
        for name, size in (("q", HIDDEN_SIZE), ("k", KEY_VALUE_SIZE), ("v", KEY_VALUE_SIZE)):
            tensors[f"{layer}.self_attn.{name}_proj.weight"] = matrix(size, HIDDEN_SIZE)
            tensors[f"{layer}.self_attn.{name}_proj.bias"] = zeros(size)
        tensors[f"{layer}.self_attn.o_proj.weight"] = matrix(HIDDEN_SIZE, HIDDEN_SIZE)
        tensors[f"{layer}.mlp.gate_proj.weight"] = matrix(INTERMEDIATE_SIZE, HIDDEN_SIZE)
        tensors[f"{layer}.mlp.up_proj.weight"] = matrix(INTERMEDIATE_SIZE, HIDDEN_SIZE)
        tensors[f"{layer}.mlp.down_proj.weight"] = matrix(HIDDEN_SIZE, INTERMEDIATE_SIZE)
    return tensors


def write_json(path: Path, value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", CONFIG)
    write_json(folder / "generation_config.json", GENERATION_CONFIG)
    write_json(folder / "tokenizer_config.json", TOKENIZER_CONFIG)
    write_json(folder / "tokenizer.json", json.loads(tokenizer().to_str()))
    # transformers asks for the format in the header.
    (folder / "model.safetensors").write_bytes(save(weights(), metadata={"format": "pt"}))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "tiny-qwen2")
