"""Datasets that LLaMA-Factory cannot use."""

from __future__ import annotations

from qtune.failures.row import Failure

FAILURES = (
    Failure(
        "undefined-dataset",
        (r"^ValueError: Undefined dataset (?P<name>.+) in dataset_info\.json",),
        "`{name}` is not registered in dataset_info.json",
        "register it: `qtune data add`, and render again; `dataset` takes names, not paths",
        "llamafactory/data/parser.py, get_dataset_list; #5341 #7703",
    ),
    Failure(
        "data-file-not-found",
        (r"^ValueError: File (?P<path>.+) not found\.",),
        "the data file {path} is not there",
        "mend file_name in the dataset's registration, or fetch the file",
        "llamafactory/data/loader.py, _load_single_dataset",
    ),
    Failure(
        "no-valid-samples",
        (
            r"^RuntimeError: Cannot find valid samples",
            r"^RuntimeError: Cannot find sufficient samples",
        ),
        "no row of the data was left: empty fields, wrong columns, roles that the tags do not name, or rows "
        "for another stage",
        "`qtune data check` names the rows and why, `qtune data preview` shows what the model would see",
        "llamafactory/data/loader.py, _get_preprocessed_dataset; data/converter.py; #4249 #9493 #6878",
    ),
    Failure(
        "missing-column",
        (r"^KeyError: '(?P<column>instruction|conversations|messages|output|input|text|role|from|value)'",),
        "the rows have no column `{column}`, which the registration names",
        "set columns and formatting as the rows have them: `qtune data add` finds them",
        "datasets/formatting/formatting.py; llamafactory/data/converter.py; #7577",
    ),
    Failure(
        "rows-of-different-types",
        (
            r"ArrowInvalid: JSON parse error: Column\(.*\) changed from",
            r"ArrowTypeError: ",
            r"ArrowInvalid: .*Conversion failed",
        ),
        "a column of the data holds text in some rows and something else in others",
        "`qtune data check NAME` names the lines, with `--fix OUT` it writes the good ones",
        "datasets/packaged_modules/json/json.py; #8805",
    ),
    Failure(
        "broken-row",
        (r"ArrowInvalid: (?:JSON parse error|CSV parse error)", r"json\.decoder\.JSONDecodeError: "),
        "a line of the data cannot be read",
        "`qtune data check NAME` names the lines, with `--fix OUT` it writes the good ones",
        "datasets/packaged_modules/json/json.py; #4376 #3665",
    ),
    Failure(
        "other-stage",
        (r"^ValueError: The dataset is not applicable in the current training stage",),
        "pairs of answers (ranking: true) are for the stages rm and dpo, and only they take them",
        "choose a preset of the data's stage, or mend `ranking` in its registration",
        "llamafactory/data/loader.py, _get_merged_dataset; #4717",
    ),
    Failure(
        "unknown-template",
        (r"^ValueError: Template (?P<name>.+) does not exist",),
        "LLaMA-Factory has no chat template `{name}`",
        "set template: auto, or a name of its own: `qtune check` suggests near ones",
        "llamafactory/data/template.py, get_template_and_fix_tokenizer; #9759",
    ),
    Failure(
        "model-takes-no-media",
        (r"^ValueError: This model does not support (?P<medium>image|video|audio) input",),
        "the rows hold {medium}s, and the model or its chat template takes none",
        "choose a model that does and its template, or data without them",
        "llamafactory/data/mm_plugin.py, _validate_input",
    ),
    Failure(
        "no-saved-tokens",
        (r"^FileNotFoundError: Directory (?P<path>.+) is neither a `Dataset` directory nor",),
        "tokenized_path names {path}, which holds no tokens",
        "remove the directory, or name another",
        "datasets/load.py, load_from_disk",
    ),
    Failure(
        "token-outside-vocabulary",
        (
            r"^IndexError: index out of range in self",
            r"Assertion `srcIndex < srcSelectDimSize` failed",
            r"CUDA error: device-side assert triggered",
        ),
        "mostly a token that the model's embedding has no row for: the tokenizer is another model's, or "
        "tokens were added to it",
        "use the model's own tokenizer; for added tokens set resize_vocab: true",
        "torch/nn/functional.py, embedding; aten/src/ATen/native/cuda/Indexing.cu; #5028",
    ),
)
