"""Write the generated blocks of README.md and docs/*.md anew: `make docs`.

A block stands between `<!-- generated: NAME -->` and `<!-- end -->`, on lines of their own; all else in these
documents is written by hand. NAME is a row of `BLOCKS`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from published_memory import GB, HUB, RESOURCES, SWIFT, USERS, Published, predict

from qtune.checks.rules import RULES
from qtune.failures import rows as known_failures
from qtune.machine.cards import cards
from qtune.units import size_text

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
MARKED = re.compile(
    r"(?<=^<!-- generated: )([^\n]+)( -->\n)(.*?)(?=^<!-- end -->$)", re.MULTILINE | re.DOTALL
)


def current(document: str) -> str:
    """A document's text with every block as it has to be today; KeyError for a block that has no row."""
    return MARKED.sub(lambda found: found[1] + found[2] + BLOCKS[found[1]](), document)


def presets() -> str:
    """The catalogue of the built-in presets."""
    command = [sys.executable, "-m", "qtune", "presets", "--markdown"]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout


def rules() -> str:
    """What `qtune check` refuses or warns of, one line a rule."""
    rows = []
    for rule in RULES:
        words = re.sub(r"\{(\w+)\}", "…", rule.message.replace("{{", "{").replace("}}", "}"))
        name = f"`{rule.id}`" + (" (warning)" if rule.severity == "warning" else "")
        keys = ", ".join(f"`{key}`" for key in rule.keys)
        rows.append((name, keys, words.replace("|", "/"), rule.source))
    return table("rule | stands at | says | source", rows)


def failures() -> str:
    """What qtune says of the failures that it knows, one line each."""
    rows = []
    for failure in known_failures():
        cause, fix = (re.sub(r"(?:\{\w+\})+", "…", text) for text in (failure.cause, failure.fix))
        rows.append((f"`{failure.id}`", cause, fix, failure.source))
    return table("failure | cause | fix | source", rows)


def memory(published: Sequence[Published]) -> str:
    """Published peaks of GPU memory beside what qtune predicts for the same training."""
    rows = []
    for row in published:
        found, measured = predict(row), row.measured * row.unit
        said = f"{row.measured:g} GB" if row.unit == GB else size_text(measured)
        figures = (said, size_text(found), f"{found / measured:.2f}")
        rows.append((row.model.partition("/")[2], row.what, *figures))
    return table("model | what | published | predicted | ratio", rows)


def known_cards() -> str:
    """What is known of each card that `--hardware` takes by its name."""
    rows = []
    for card in cards().values():
        link = "" if card.nvlink is None else f"{card.nvlink:g}"
        figures = [f"{figure:g}" for figure in (card.tflops, card.bandwidth, card.pcie)]
        there = (f"{card.sold:g} GB", f"{card.memory:.4g} GiB", "yes" if card.bf16 else "no")
        rows.append((f"`{card.name}`", *there, *figures, link))
    head = "card | sold as | torch finds | bf16 | 16-bit TFLOP/s | memory GB/s | host GB/s | NVLink GB/s"
    return table(head, rows)


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; head: the names of its columns as they stand in its first line."""
    rule = " | ".join("---" for _ in head.split(" | "))
    return "".join(f"| {line} |\n" for line in (head, rule, *map(" | ".join, rows)))


BLOCKS: Mapping[str, Callable[[], str]] = {
    "qtune presets --markdown": presets,
    "rules": rules,
    "failures": failures,
    "cards": known_cards,
    "memory, LitGPT's resource tables": lambda: memory(RESOURCES),
    "memory, LitGPT's config hub": lambda: memory(HUB),
    "memory, ms-swift": lambda: memory(SWIFT),
    "memory, users": lambda: memory(USERS),
}


def main() -> None:
    """Write each document that is not current, and say which."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        if (new := current(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {path.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
