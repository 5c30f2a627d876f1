"""How other projects train where that differs from LLaMA-Factory, as settings that the estimate is asked for.

A row of docs/published names its way by a key of `WAYS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from qtune.predict.memory import activations
from qtune.predict.memory.setting import Setting
from qtune.predict.models.shapes import Model


class Library(Setting):
    """As LLaMA-Factory trains."""

    @classmethod
    def built(cls, model: Model) -> Model:
        """The model as the project builds it."""
        return model

    @property
    def held(self) -> int:
        """Bytes that the project's loop holds from the forward pass to the end of the backward one."""
        return 0


def _repeated(model: Model) -> Model:
    """With keys and values repeated for all heads."""
    return replace(model, num_key_value_heads=model.num_attention_heads)


class LitGPT(Library):
    """`bf16-true` holds all in bf16, trained weights and optimizer states included; one GPU trains without
    gradient checkpointing (litgpt/finetune/lora.py). The loss takes 128 tokens at a time: bf16 logits, their
    log-softmax and its gradient, never a float32 copy of all (litgpt/utils.py, chunked_cross_entropy)."""

    autocast = False
    trained_bytes = weight_bytes = 2
    checkpointing = False
    loss = "LitGPT's"

    @classmethod
    def built(cls, model: Model) -> Model:
        """Keys and values repeated (litgpt/model.py), and an output layer with weights of its own also where
        the model shares them with the embeddings (`tie_embeddings: null`)."""
        untied = tuple(replace(module, tied=False) for module in model.modules)
        return replace(_repeated(model), modules=untied, tie_word_embeddings=False)


class Kbit(Library):
    """PEFT's prepare_model_for_kbit_training, and no autocast: what a quantised model keeps in more bits is
    float32, the hidden state and the logits with it. The loop holds the logits while it goes back. Rows of
    one length without a mask; heads of keys and values repeated."""

    has_mask = False

    @property
    def loss(self) -> str:
        return "held in float32" if self.quantized else "held in 16 bits"

    @property
    def held(self) -> int:
        return self.weight_bytes * self.model.vocab_size * self.tokens

    @property
    def weight_bytes(self) -> int:
        return 4 if self.quantized else super().weight_bytes

    @classmethod
    def built(cls, model: Model) -> Model:
        return _repeated(model)


class Swift(Library):
    """Trained weights stay bf16, as they are loaded (swift/llm/model/utils.py), adapters float32."""

    @property
    def trained_bytes(self) -> int:
        return 4 if self.adapter and not self.zero else 2


class Torchtune(Library):
    """`dtype: bf16` holds all in bf16, trained weights and optimizer states included. Until mid 2024 it made
    the logits float32 as a whole; copy, log-softmax and two gradients of them lie there at once
    (recipes/lora_finetune_single_device.py, train)."""

    autocast = False
    trained_bytes = weight_bytes = 2
    loss = "torchtune's"

    @classmethod
    def built(cls, model: Model) -> Model:
        return _repeated(model)


class CompiledTorchtune(Torchtune):
    """Logits in eight chunks, each made float32 and compiled with its cross entropy
    (torchtune/modules/loss/ce_chunked_output_loss.py): all in bf16, and the gradient of a chunk."""

    loss = "torchtune's, in chunks"


WAYS: Mapping[str, type[Library]] = {
    "library": Library,
    "litgpt": LitGPT,
    "kbit": Kbit,
    "swift": Swift,
    "torchtune, whole logits": Torchtune,
    "torchtune, logits in chunks": CompiledTorchtune,
}
activations.LOSSES.update(
    {
        "LitGPT's": (6, 6),
        "held in float32": (8, 16),
        "held in 16 bits": (10, 14),
        "torchtune's": (8, 16),
        "torchtune's, in chunks": (2 + 2 / 8, 2 + 2 / 8),
    }
)
