"""How other projects train where that differs from LLaMA-Factory, as settings that the estimate is asked for.

A row of docs/published names its way by a key of `WAYS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from qtune.predict.memory import activations
from qtune.predict.memory.setting import Setting
from qtune.predict.memory.weights import bytes_of_4_bit
from qtune.predict.models.shapes import Model


class Library(Setting):
    """As LLaMA-Factory trains."""

    @classmethod
    def built(cls, model: Model) -> Model:
        """The model as the project builds it."""
        return model

    def beside(self, moment: str) -> int:
        """Bytes that the project holds at that moment of the estimate beside what is estimated."""
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

    def beside(self, moment: str) -> int:
        """Queries, keys and values are one linear layer (litgpt/lora.py, LoRAQKVLinear; litgpt/model.py): one
        dropout before it, and attention keeps the whole output with the values, a view of it where they are
        not repeated.

        Of quantised layers bitsandbytes kept the inputs before 0.44 (autograd/_functions.py, MatMul4Bit). The
        output layer is quantised too: dequantised in float16 and cast
        (lightning/fabric/plugins/precision/bitsandbytes.py, _quantize_weight).
        """
        model, layers = self.model, self.model.num_hidden_layers * self.tokens
        adapted = {"q_proj", "k_proj", "v_proj"} - self.without_adapter
        dropped = 3 * max(len(adapted) - 1, 0) if self.adapter and self.train.get("lora_dropout") else 0
        widths = {linear.outputs for linear in model.linears if linear.name == "v_proj"}
        fused = 4 * model.hidden_size if model.hidden_size in widths else 0  # bf16 queries and keys
        kept = layers * (fused - dropped * model.hidden_size)
        if not self.quantized:
            return kept
        kept += layers * 2 * (3 * model.hidden_size + model.intermediate_size)
        return int(kept + (bytes_of_4_bit(1, False) + 2) * model.vocab_size * model.hidden_size)


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

    def beside(self, moment: str) -> int:
        """The logits, where the loss does not count them."""
        held = moment != "computing the loss"
        return held * self.compute_bytes * self.model.vocab_size * self.tokens


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
        return _repeated(model)


class Shifted(Library):
    """transformers 4.46 to 4.48, which copied the float32 logits, less the last token's, while the 16-bit
    ones were there (loss/loss_utils.py, ForCausalLMLoss)."""

    loss = "float32 logits copied"


class ShiftedKbit(Shifted, Kbit):
    """Both."""


class Qwen(Library):
    """Trained weights in 16 bits: adapters as PEFT made them until 0.12, in the dtype of the weights below
    them, and a model loaded in bf16; autocast has nothing to cast then. The loss is taken from logits as they
    are, which autocast makes float32 and DeepSpeed does not (modeling_qwen.py, QWenLMHeadModel.forward)."""

    autocast = False
    trained_bytes = 2

    @property
    def loss(self) -> str:
        return "16-bit logits copied" if self.zero else "cross entropy"


class FsdpQlora(Library):
    """Answer.AI's train.py: all in bf16, adapters and optimizer states included, and the float32 logits of
    the transformers of its day held during the backward pass."""

    autocast = False
    mixed = False
    trained_bytes = 2
    loss = "float32 logits copied and held"


class CutCrossEntropy(Library):
    """axolotl's plugin of that name: the loss from the hidden states, logits by blocks within a kernel."""

    loss = "no logits"


class Swift(Library):
    """Trained weights stay bf16, as they are loaded (swift/model/register.py), adapters float32."""

    @property
    def trained_bytes(self) -> int:
        return 4 if self.adapter and not self.zero else 2


class XTuner(Library):
    """FSDP casts, not autocast. The loss by 1,024 tokens, with its gradients (xtuner/v1/loss): a quarter of a
    packed row at a time."""

    autocast = False
    loss = "XTuner's"


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
    "loop": Loop,
    "kbit": Kbit,
    "fitcheck": FitCheck,
    "shifted": Shifted,
    "shifted kbit": ShiftedKbit,
    "qwen": Qwen,
    "fsdp_qlora": FsdpQlora,
    "cut cross entropy": CutCrossEntropy,
    "swift": Swift,
    "xtuner": XTuner,
    "torchtune, whole logits": Torchtune,
    "torchtune, logits in chunks": CompiledTorchtune,
}
activations.LOSSES |= {
    "LitGPT's": (6, 6),
    "logits held": (10, 14),
    "float32 logits held": (8, 16),
    "16-bit logits copied": (6, 6),
    "float32 logits copied": (14, 12),
    "float32 logits copied and held": (12, 16),
    "no logits": (0, 0),
    "XTuner's": (12 / 4, 12 / 4),
    "torchtune's": (8, 16),
    "torchtune's, in chunks": (2 + 2 / 8, 2 + 2 / 8),
}
