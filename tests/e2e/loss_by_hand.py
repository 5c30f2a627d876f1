"""The loss of a model on rows, by transformers and PEFT alone: a request on stdin, the answer on stdout.

Request: model; adapter or null; sequences, a list of [prompt, answer] texts, of which the answer is
predicted; the prompt is empty where the whole text is. Answer: loss, the mean of the rows' losses; tokens.
"""

from __future__ import annotations

import json
import os
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    request = json.load(sys.stdin)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)  # what the libraries print is no part of the answer
        tokenizer = AutoTokenizer.from_pretrained(request["model"])
        model = AutoModelForCausalLM.from_pretrained(request["model"], dtype=torch.float32)
        if request["adapter"]:
            model = PeftModel.from_pretrained(model, request["adapter"])
        model.eval()
        losses, tokens = [], 0
        for prompt, text in request["sequences"]:
            before = tokenizer.encode(prompt, add_special_tokens=False)
            after = tokenizer.encode(text, add_special_tokens=False)
            with torch.no_grad():
                logits = model(torch.tensor([before + after])).logits[0]
            start = max(len(before), 1)
            targets = torch.tensor((before + after)[start:])
            predicted = torch.log_softmax(logits[start - 1 : -1].float(), dim=-1)
            losses.append(-predicted[torch.arange(len(targets)), targets].mean().item())
            tokens += len(targets)
        json.dump({"loss": sum(losses) / len(losses), "tokens": tokens}, answer)


if __name__ == "__main__":
    main()
