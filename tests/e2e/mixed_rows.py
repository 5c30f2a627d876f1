"""Compare qtune's numbers of rows with `datasets`' own: `python mixed_rows.py ANSWERS COUNT SEED`."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from datasets import Dataset, interleave_datasets

from qtune.data.mixing import mixed_rows

# llamafactory/data/data_utils.py, merge_dataset
STRATEGIES = {"interleave_under": "first_exhausted", "interleave_over": "all_exhausted"}


def main() -> None:
    dice, different = random.Random(int(sys.argv[3])), []
    for _ in range(int(sys.argv[2])):
        lengths = [dice.choice((1, 2, 7, 50, 700, 1500, 3000)) for _ in range(dice.randint(2, 4))]
        weights = [dice.random() + 0.02 for _ in lengths]
        shares = dice.choice((None, [weight / sum(weights) for weight in weights]))
        strategy, seed = dice.choice(list(STRATEGIES)), dice.randrange(100)
        parts = [Dataset.from_dict({"row": range(length)}) for length in lengths]
        library = interleave_datasets(parts, shares, seed, stopping_strategy=STRATEGIES[strategy])
        ours = mixed_rows(lengths, strategy, shares, seed)
        if len(library) != ours:
            different.append([lengths, strategy, shares, seed, len(library), ours])
    Path(sys.argv[1]).write_text(json.dumps(different), encoding="utf-8")


if __name__ == "__main__":
    main()
