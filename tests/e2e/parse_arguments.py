"""What LLaMA-Factory's own parser makes of train configs and command lines.

Run as `python parse_arguments.py requests.json answers.json`, the first with a list of {"root", "argv",
"distributed"}; answers with a list of {"error", "parsed"}. The library is imported once; each request is
parsed in a fork, since the parser leaves process groups and singletons behind.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from accept_configs import answer_the_hardware_probe, one_worker_of_torchrun, plain
from llamafactory.hparams import parser
from llamafactory.hparams.parser import get_train_args


def main() -> None:
    requests, answers = map(Path, sys.argv[1:])
    results = [in_a_fork(request) for request in json.loads(requests.read_text(encoding="utf-8"))]
    answers.write_text(json.dumps(results), encoding="utf-8")


def in_a_fork(request: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w", encoding="utf-8") as answer:
            json.dump(parse(request), answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"error": "the parser's process died", "parsed": {}}


def parse(request: dict[str, Any]) -> dict[str, Any]:
    os.chdir(request["root"])
    answer_the_hardware_probe()
    parser.is_torch_bf16_gpu_available = lambda: True  # for pure_bf16
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
    main()
