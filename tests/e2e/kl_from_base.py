"""How far trained adapters are from their base model.

Run as `python kl_from_base.py MODEL DATASET.jsonl RUN…`; prints one JSON list with a number a run: the mean
over all tokens of the held-out rows of KL(tuned ‖ base), in nats. Every adapter is measured over the base in
full precision.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    model, dataset, *runs = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = [json.loads(line) for line in Path(dataset).read_text(encoding="utf-8").splitlines()]
    prompts = [
        tokenizer.apply_chat_template(
            [
                {"role": "user", "content": f"{row['instruction']}\n{row['input']}".strip()},
                {"role": "assistant", "content": row["output"]},
            ],
            tokenize=False,
        )
        for row in rows
    ]
    batches = [tokenizer(prompt, return_tensors="pt") for prompt in prompts]
    plain = AutoModelForCausalLM.from_pretrained(model).eval()
    base = [log_probabilities(plain, batch) for batch in batches]
    print(json.dumps([divergence(model, run, batches, base) for run in runs]))


def divergence(model: str, run: str, batches: list, base: list[torch.Tensor]) -> float:
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), run).eval()
    total, tokens = 0.0, 0
    for batch, reference in zip(batches, base, strict=True):
        ours = log_probabilities(tuned, batch)
        total += (ours.exp() * (ours - reference)).sum().item()
        tokens += ours.shape[0] * ours.shape[1]
    return total / tokens


@torch.no_grad()
def log_probabilities(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**batch).logits.double().log_softmax(-1)


if __name__ == "__main__":
    main()
