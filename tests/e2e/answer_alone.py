"""One greedy answer of a model's directory, by transformers alone: DIRECTORY PROMPT."""

from __future__ import annotations

import sys

from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    directory, prompt = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype="auto")
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    made = model.generate(**asked, max_new_tokens=120, do_sample=False)
    print(tokenizer.decode(made[0, asked["input_ids"].shape[1] :], skip_special_tokens=True))
    assert "llamafactory" not in sys.modules and "peft" not in sys.modules


if __name__ == "__main__":
    main()
