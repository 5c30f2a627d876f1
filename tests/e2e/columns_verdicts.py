"""Whether LLaMA-Factory loads and converts data sets, in one process: MODEL ROOT ANSWERS.json.

ROOT has a folder for each data set, with its dataset_info.json. An answer is null, or the error.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import datasets
from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.parser import get_dataset_list
from llamafactory.hparams import get_train_args


def main(model: str, root: Path, answers: Path) -> None:
    given = {
        "model_name_or_path": model,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "template": "qwen",
        "dataset": "data",
        "dataset_dir": str(root),
        "output_dir": str(root / "out"),
        "report_to": "none",
    }
    model_args, data_args, training_args, *_ = get_train_args(given)
    found = {}
    for folder in sorted(path for path in root.iterdir() if (path / "dataset_info.json").is_file()):
        data_args.dataset_dir = str(folder)
        try:
            [names] = get_dataset_list(["data"], str(folder))
            _load_single_dataset(names, model_args, data_args, training_args)
            found[folder.name] = None
        except Exception as error:
            found[folder.name] = repr(error)
    answers.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    datasets.disable_progress_bars()
    logging.disable(logging.CRITICAL)
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
