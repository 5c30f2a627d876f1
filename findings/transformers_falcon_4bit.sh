#!/usr/bin/env bash
# transformers 5.5.4 with bitsandbytes 0.50.2: a Falcon model that is loaded with load_in_4bit stays in 16 bits, whole
# and without a word; `is_loaded_in_4bit` says True.
# Its linear layers are of a class of its own, FalconLinear, which derives from torch.nn.Linear, and
# integrations/bitsandbytes.py, replace_with_bnb_linear, takes `type(module) is nn.Linear` alone. So QLoRA of a Falcon
# needs about three times the memory that its 4 bits would.
# Expected: all linear layers but the output layer packed, as those of a Llama are.
# Output seen:
#   falcon: 0 of 8 linear layers are in 4 bits; is_loaded_in_4bit True
#   llama: 14 of 14 linear layers are in 4 bits; is_loaded_in_4bit True
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.11.0 transformers==5.5.4 bitsandbytes==0.50.2 accelerate==1.11.0
venv/bin/python - <<'PYTHON'
import sys

import bitsandbytes
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, FalconConfig, LlamaConfig, logging

logging.set_verbosity_error()
shapes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 256}
found = {}
for config in (FalconConfig(**shapes), LlamaConfig(intermediate_size=512, **shapes)):
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(config.model_type)
    in_4_bits = BitsAndBytesConfig(load_in_4bit=True)
    model = AutoModelForCausalLM.from_pretrained(
        config.model_type, quantization_config=in_4_bits, device_map={"": "cpu"}
    )
    layers = [module for name, module in model.named_modules() if name != "lm_head"]
    linear = [module for module in layers if isinstance(module, torch.nn.Linear)]
    packed = [module for module in linear if isinstance(module, bitsandbytes.nn.Linear4bit)]
    said = f"{len(packed)} of {len(linear)} linear layers are in 4 bits"
    print(f"{config.model_type}: {said}; is_loaded_in_4bit {model.is_loaded_in_4bit}")
    found[config.model_type] = len(packed), len(linear), model.is_loaded_in_4bit
sys.exit(0 if found == {"falcon": (0, 8, True), "llama": (14, 14, True)} else 1)
PYTHON
