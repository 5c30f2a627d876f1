"""Rules about data: which rows a stage takes, how they are mixed, streamed and held back."""

from __future__ import annotations

from typing import Any

from qtune.checks.rules.view import Rule, View
from qtune.config.auto import AUTO
from qtune.config.names import quoted
from qtune.data.registrations import CONVERSATIONS, names_in
from qtune.data.token_cache import is_automatic, is_complete, unfollowed

_PARSER = "llamafactory/hparams/parser.py, get_train_args"
_DATA_PARSER = "llamafactory/hparams/data_args.py, DataArguments.__post_init__"
_LOADER = "llamafactory/data/loader.py, _get_merged_dataset"

_PAIRS = ("rm", "dpo")


def _datasets(view: View, *, ranking: bool) -> str:
    """The datasets of pairs of answers, or the others."""
    return quoted(item.name for item in view.datasets if bool(item.entry.get("ranking")) == ranking)


def _feedback_columns(view: View) -> str:
    """Conversations without a column for kto's judgement (the dataset check looks after the other format)."""
    if view["stage"] != "kto":
        return ""
    return quoted(
        item.name
        for item in view.datasets
        if item.formatting in CONVERSATIONS and not item.block("columns").get("kto_tag")
    )


def _nameless(view: View) -> str:
    return ", ".join(
        key for key in ("dataset", "eval_dataset") if view[key] is not None and not names_in(view[key])
    )


def _probabilities(view: View) -> list[float] | None:
    """`interleave_probs` as numbers, None where there are none or not all are numbers."""
    given = view["interleave_probs"]
    try:
        return None if given is None else [float(part) for part in _parts(given)]
    except (TypeError, ValueError):
        return None


def _parts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else str(value).split(",")


def _other_lengths(view: View) -> str:
    given = view["interleave_probs"]
    if given is None or view["mix_strategy"] == "concat":
        return ""
    wrong = [
        f"`{key}` names {len(_parts(view[key]))}"
        for key in ("dataset", "eval_dataset")
        if view[key] is not None and len(_parts(view[key])) != len(_parts(given))
    ]
    return f"{len(_parts(given))} given, {' and '.join(wrong)}" if wrong else ""


def _mixed(view: View) -> dict[str, list[str]]:
    """The different datasets of each argument that mixes several."""
    merged = ("dataset",) if view["eval_on_each_dataset"] else ("dataset", "eval_dataset")
    named = {key: list(dict.fromkeys(names_in(view[key]))) for key in merged}
    return {key: names for key, names in named.items() if len(names) > 1}


def _other_numbers(view: View) -> str:
    """Probabilities for a name that stands twice, of which the library loads the data once."""
    given = view["interleave_probs"]
    if given is None or view["mix_strategy"] == "concat" or _other_lengths(view):
        return ""
    wrong = [
        f"`{key}` names {len(names)} different ones"
        for key, names in _mixed(view).items()
        if len(names) != len(_parts(given))
    ]
    return f"{len(_parts(given))} given, {' and '.join(wrong)}" if wrong else ""


def _named_twice(view: View) -> str:
    if _other_numbers(view):
        return ""
    named = [name for key in ("dataset", "eval_dataset") for name in _repeated(names_in(view[key]))]
    return quoted(dict.fromkeys(named))


def _repeated(names: list[str]) -> list[str]:
    return [name for name in names if names.count(name) > 1]


def _never_drawn(view: View) -> bool:
    return (
        view["mix_strategy"] == "interleave_over"
        and bool(_mixed(view))
        and not _other_lengths(view)
        and 0 in (_probabilities(view) or ())
    )


def _not_followed(view: View) -> str:
    if view["tokenized_path"] != AUTO:
        return ""
    return ", ".join(filter(None, map(unfollowed, view.datasets)))


def _tokenized(view: View) -> bool:
    path = view.root / view["tokenized_path"] if view["tokenized_path"] else None
    return path is not None and path.is_dir() and any(path.iterdir())


def _is_whole(view: View) -> bool:
    return is_complete(view.root / view["tokenized_path"])


RULES = (
    Rule(
        "dataset-names-something",
        ("dataset", "eval_dataset"),
        _nameless,
        "`{found}` is there but names no dataset",
        "name a registered dataset, or take it out",
        "llamafactory/data/parser.py, get_dataset_list",
    ),
    Rule(
        "pairs-need-comparing-stage",
        ("stage", "dataset", "eval_dataset"),
        lambda view: view["stage"] not in _PAIRS and _datasets(view, ranking=True),
        "stage {stage} does not take pairs of answers, as in {found} (`ranking: true`)",
        "set stage: dpo or rm, or name other data",
        _LOADER,
    ),
    Rule(
        "comparing-stage-needs-pairs",
        ("stage", "dataset", "eval_dataset"),
        lambda view: view["stage"] in _PAIRS and _datasets(view, ranking=False),
        "stage {stage} compares pairs of answers; not registered as such: {found}",
        "name data whose registration says `ranking: true` and names its `chosen` and `rejected` columns",
        _LOADER,
    ),
    Rule(
        "kto-needs-judgement",
        ("stage", "dataset", "eval_dataset"),
        _feedback_columns,
        "stage kto needs to know which answers are good, and {found} names no column for it",
        "name it in the registration: columns: {{kto_tag: …}}",
        "llamafactory/data/converter.py, SharegptDatasetConverter; data/processor/feedback.py",
    ),
    Rule(
        "one-source-of-evaluation-data",
        ("val_size", "eval_dataset"),
        lambda view: view["eval_dataset"] is not None and view["val_size"] > 1e-6,
        "evaluation data is named twice: `val_size` {val_size} and `eval_dataset` {eval_dataset}",
        "keep one of the two, and set the other to null",
        _DATA_PARSER,
    ),
    Rule(
        "evaluation-needs-data",
        ("eval_strategy", "do_eval", "do_predict", "predict_with_generate"),
        lambda view: (
            not view.evaluation_data
            and (view.evaluates or view["do_eval"] or view["do_predict"] or view["predict_with_generate"])
        ),
        "there is nothing to evaluate on",
        "set `eval_dataset`, or `val_size` for a share of the training data; or eval_strategy: auto, which"
        " evaluates where there is data",
        _PARSER,
    ),
    Rule(
        "val-size",
        ("val_size",),
        lambda view: (
            view["val_size"] < 0
            or (view["val_size"] > 1 and view["val_size"] != int(view["val_size"]))
            or (isinstance(view["val_size"], float) and view["val_size"] == 1)
        ),
        "is {val_size}: neither a share of the rows nor a number of rows",
        "write a share below 1, such as 0.1, or a whole number",
        "llamafactory/data/data_utils.py, split_dataset; datasets, Dataset.train_test_split",
    ),
    Rule(
        "max-samples",
        ("max_samples",),
        lambda view: view["max_samples"] is not None and view["max_samples"] < 1,
        "is {max_samples}: no row would be left",
        "use 1 or more, or take it out for all rows",
        "llamafactory/data/loader.py, _load_single_dataset",
    ),
    Rule(
        "streaming-needs-max-steps",
        ("streaming", "max_steps"),
        lambda view: view["streaming"] and view["max_steps"] <= 0,
        "a stream of rows has no end that steps could be counted from",
        "set `max_steps`, or take `streaming` out",
        _PARSER,
    ),
    Rule(
        "streaming-val-size",
        ("val_size", "streaming"),
        lambda view: view["streaming"] and 1e-6 < view["val_size"] < 1,
        "is {val_size}, and a stream of rows has no shares",
        "write a whole number of rows, or name an `eval_dataset` instead",
        _DATA_PARSER,
    ),
    Rule(
        "streaming-validation-rows-return",
        ("val_size", "streaming"),
        lambda view: view["streaming"] and view["val_size"] >= 1 and not _tokenized(view),
        "sets {val_size} rows aside for the first pass over the data alone: then the stream is shuffled anew,"
        " and rows that are evaluated on are trained on",
        "name an `eval_dataset` instead: `qtune data split NAME` makes two files",
        "llamafactory/data/data_utils.py, split_dataset; datasets/iterable_dataset.py, set_epoch",
        "warning",
    ),
    Rule(
        "streaming-without-max-samples",
        ("max_samples", "streaming"),
        lambda view: view["streaming"] and view["max_samples"] is not None,
        "does not go with `streaming`",
        "take one of the two out; `max_steps` bounds a stream",
        _DATA_PARSER,
    ),
    Rule(
        "streaming-without-saving-tokens",
        ("streaming", "tokenized_path"),
        lambda view: view["streaming"] and view["tokenized_path"] is not None and not _tokenized(view),
        "a stream cannot be saved to `tokenized_path` {tokenized_path}",
        "tokenise once without `streaming`, or take `tokenized_path` out",
        "llamafactory/data/loader.py, get_dataset",
    ),
    Rule(
        "streaming-files-need-workers",
        ("dataloader_num_workers", "streaming"),
        lambda view: (
            view["streaming"]
            and view["dataloader_num_workers"] == 0
            and not _tokenized(view)
            and any(item.path is not None for item in view.datasets)
        ),
        "is 0: LLaMA-Factory streams a file in as many parts as there are workers, here in none",
        "set dataloader_num_workers: 1 or more, or take `streaming` out",
        "llamafactory/data/loader.py, _load_single_dataset; datasets, Dataset.to_iterable_dataset",
    ),
    Rule(
        "tokens-are-there",
        ("tokenized_path",),
        lambda view: _tokenized(view) and not is_automatic(view.config) and _is_whole(view),
        "{tokenized_path} holds tokens, which are used whatever data, template and cutoff_len say",
        "set tokenized_path: auto, which makes them anew after any change, or name another directory",
        "llamafactory/data/loader.py, get_dataset",
        "warning",
    ),
    Rule(
        "tokens-are-whole",
        ("tokenized_path",),
        lambda view: _tokenized(view) and not is_automatic(view.config) and not _is_whole(view),
        "{tokenized_path} holds no whole set of tokens: its writing was interrupted, or it is something else",
        "delete the directory, or set tokenized_path: auto, which keeps whole ones only",
        "llamafactory/data/loader.py, get_dataset; datasets, load_from_disk",
    ),
    Rule(
        "tokenized-path-auto-follows-files",
        ("tokenized_path",),
        _not_followed,
        "auto makes tokens anew after any change, which it sees in local files of text alone: {found}",
        "name a directory, and delete it after any change; or take `tokenized_path` out",
        "llamafactory/data/loader.py, get_dataset",
    ),
    Rule(
        "dataset-named-twice",
        ("dataset", "eval_dataset"),
        _named_twice,
        "names {found} more than once, and LLaMA-Factory loads it once",
        "name it once; for more of it set `num_samples` in its registration, or interleave_probs",
        _LOADER,
        "warning",
    ),
    Rule(
        "interleave-once-is-missing",
        ("mix_strategy",),
        lambda view: view["mix_strategy"] == "interleave_once" and bool(_mixed(view)),
        "is {mix_strategy}, which `datasets` up to 4.0.0 does not have, and LLaMA-Factory takes no later one",
        "set mix_strategy: concat, which takes every row once too; or interleave_under, interleave_over",
        "llamafactory/data/data_utils.py, merge_dataset; datasets/combine.py, interleave_datasets",
    ),
    Rule(
        "interleave-over-draws-all",
        ("interleave_probs", "mix_strategy"),
        _never_drawn,
        "is {interleave_probs}: interleave_over never ends, as it waits for the dataset whose share is 0",
        "take the dataset out, or give it a share",
        "datasets/arrow_dataset.py, _interleave_map_style_datasets",
    ),
    Rule(
        "interleave-probs-for-different-datasets",
        ("interleave_probs", "dataset", "eval_dataset"),
        _other_numbers,
        "takes one number for each different dataset: {found}",
        "name each dataset once",
        f"{_LOADER}; numpy, Generator.choice",
    ),
    Rule(
        "interleave-probs-need-mixing",
        ("interleave_probs", "mix_strategy"),
        lambda view: view["interleave_probs"] is not None and view["mix_strategy"] == "concat",
        "has no meaning while datasets are put one behind the other (mix_strategy: concat)",
        "set mix_strategy: interleave_under or interleave_over, or take `interleave_probs` out",
        _DATA_PARSER,
    ),
    Rule(
        "interleave-probs-are-numbers",
        ("interleave_probs",),
        lambda view: (
            view["interleave_probs"] is not None
            and view["mix_strategy"] != "concat"
            and _probabilities(view) is None
        ),
        "is {interleave_probs}: not all of it are numbers",
        "write one number for each dataset, such as 0.7,0.3",
        _DATA_PARSER,
    ),
    Rule(
        "interleave-probs-for-each-dataset",
        ("interleave_probs", "dataset", "eval_dataset"),
        _other_lengths,
        "takes one number for each dataset: {found}",
        "write as many numbers as there are datasets, the same for `dataset` and `eval_dataset`",
        _DATA_PARSER,
    ),
    Rule(
        "interleave-probs-sum-to-one",
        ("interleave_probs",),
        lambda view: (
            view["mix_strategy"] != "concat"
            and not _other_lengths(view)
            and len(probabilities := _probabilities(view) or [1.0]) > 1
            and (abs(sum(probabilities) - 1) > 1e-8 or min(probabilities) < 0)
        ),
        "is {interleave_probs}, which does not sum to 1",
        "write shares that sum to 1, such as 0.7,0.3",
        "datasets, interleave_datasets; numpy, Generator.choice",
    ),
)
