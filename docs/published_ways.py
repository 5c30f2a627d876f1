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


class LitGPT(Library):
    """`bf16-true` holds all in bf16, trained weights and optimizer states included; one GPU trains without
    gradient checkpointing (litgpt/finetune/lora.py). The loss takes 128 tokens at a time: bf16 logits, their
    log-softmax and its gradient, never a float32 copy of all (litgpt/utils.py, chunked_cross_entropy)."""

    autocast = False
    trained_bytes = 2
    checkpointing = False
    loss = "LitGPT's"

    @classmethod
    def built(cls, model: Model) -> Model:
        """Keys and values repeated for all heads (litgpt/model.py), and an output layer with weights of its
        own also where the model shares them with the embeddings (`tie_embeddings: null`)."""
        untied = tuple(replace(module, tied=False) for module in model.modules)
        heads = model.num_attention_heads
        return replace(model, modules=untied, tie_word_embeddings=False, num_key_value_heads=heads)


class Loop(Library):
    """A loop of its own around transformers and PEFT, without autocast: 16-bit weights, float32 adapters,
    what is trained whole as it was loaded. The model's outputs are held while it is gone back through, logits
    among them, which Trainer lets go."""

    autocast = False
    mixed = False

    @property
    def trained_bytes(self) -> int:
        return 4 if self.adapter else self.checkpoint_bytes

    @property
    def loss(self) -> str:
        return "float32 logits held" if self.compute_bytes == 4 else "logits held"


class Kbit(Library):
    """What is not packed is float32, and so are the activations between the products (peft/utils/other.py,
    prepare_model_for_kbit_training)."""

    autocast = False
    mixed = False

    @property
    def weight_bytes(self) -> int:
        return 4 if self.quantized else self.checkpoint_bytes


class FitCheck(Loop, Kbit):
    """Both, and keys and values are repeated for all heads (scripts/measure.py)."""

    @classmethod
    def built(cls, model: Model) -> Model:
        return replace(model, num_key_value_heads=model.num_attention_heads)


class Half(Library):
    """Trained weights in 16 bits: adapters as PEFT made them until 0.12, in the dtype of the weights below
    them, and full tuning of a model loaded in bf16. Autocast has nothing to cast then."""

    autocast = False
    trained_bytes = 2


class FsdpQlora(Library):
    """Answer.AI's train.py: all in bf16, adapters and optimizer states included, and the float32 logits of
    the transformers of its day held during the backward pass."""

    autocast = False
    mixed = False
    trained_bytes = 2
    loss = "float32 logits copied and held"


WAYS: Mapping[str, type[Library]] = {
    "library": Library,
    "litgpt": LitGPT,
    "loop": Loop,
    "kbit": Kbit,
    "fitcheck": FitCheck,
    "half": Half,
    "fsdp_qlora": FsdpQlora,
}
activations.LOSSES |= {
    "LitGPT's": (6, 6),
    "logits held": (10, 14),
    "float32 logits held": (8, 16),
    "float32 logits copied and held": (12, 16),
}
