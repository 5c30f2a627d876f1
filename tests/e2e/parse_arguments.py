"""What LLaMA-Factory's own parser makes of train configs and command lines.

Run as `python parse_arguments.py requests.json answers.json`, the first with a list of {"root", "argv",
"distributed"}; answers with a list of {"error", "parsed"}. The library is imported once; each request is
parsed in a fork, since the parser leaves process groups and singletons behind.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from accept_configs import answer_all, answer_the_hardware_probe, one_worker_of_torchrun, plain
from llamafactory.hparams import parser
from llamafactory.hparams.parser import get_train_args


def parse(request: dict[str, Any]) -> dict[str, Any]:
    os.chdir(request["root"])
    answer_the_hardware_probe()
    parser.is_torch_bf16_gpu_available = lambda: True  # for pure_bf16
    parser._check_extra_dependencies = lambda *arguments: None  # packages that only the training takes
    if request["distributed"]:
        os.environ.update(one_worker_of_torchrun())
    sys.argv = ["llamafactory-cli", *request["argv"]]  # `train` is popped before the parser looks
    try:
        parsed = get_train_args()
    except BaseException:
        return {"error": traceback.format_exc(), "parsed": {}}
    values = {name: plain(value) for arguments in reversed(parsed) for name, value in vars(arguments).items()}
    return {"error": None, "parsed": values}


if __name__ == "__main__":
    answer_all(parse)
