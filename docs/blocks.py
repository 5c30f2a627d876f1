"""Write the generated blocks of README.md and docs/*.md and docs/memory.svg anew: `make docs`.

A block stands between `<!-- generated: NAME -->` and `<!-- end -->`, on lines of their own; all else in these
documents is written by hand. NAME is a row of `BLOCKS`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from memory_picture import PICTURE, drawing
from published_memory import MEASURES, Published, Source, comparable, sources
from toolkits import rows as toolkit_rows

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


def memory() -> str:
    """Published peaks of GPU memory beside what qtune predicts for the same training, page by page."""
    return "\n".join(map(page, sources()))


def page(source: Source) -> str:
    """One page's rows, those that cannot be compared with the reason in place of a prediction."""
    measures = " or ".join(text for name, text in MEASURES.items() if name in source.measures)
    head = f"### {source.heading}\n\n{source.about.strip()} Measured: {measures}."
    link = f" [Source]({source.url}).\n\n" if source.url else "\n\n"
    return head + link + table("model | what | published | predicted | ratio", map(line, source.rows))


def line(row: Published) -> Sequence[str]:
    """The cells of one row."""
    named = (row.model.rpartition("/")[2], row.what, f"{row.measured:g} {row.unit}")
    if row.incomparable:
        return *named, row.incomparable, ""
    return *named, size_text(row.predicted[0]), f"{row.ratio:.2f}"


def memory_in_short() -> str:
    """How near the predictions of each page's comparable rows are, and of all runs, each once."""
    rows = [in_short(source.heading, source.comparable) for source in sources() if source.comparable]
    rows.append(in_short("all runs, each once", comparable()))
    return table("source | rows | within 10% | `high` too low | least, median, largest ratio", rows)


def in_short(name: str, rows: Sequence[Published]) -> Sequence[str]:
    """The cells of one line: how many rows, and how far off."""
    ratios = sorted(row.ratio for row in rows)
    near = sum(abs(1 - ratio) <= 0.1 for ratio in ratios)
    low = sum(row.predicted[1] < row.bytes for row in rows)
    spread = f"{ratios[0]:.2f}, {ratios[len(ratios) // 2]:.2f}, {ratios[-1]:.2f}"
    return name, f"{len(rows)}", f"{near}", f"{low}", spread


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


def toolkits() -> str:
    """How much of each toolkit's configs is translated."""
    head = "toolkit | version | files | keys | in the preset | need nothing there | without a counterpart"
    return table(head, toolkit_rows())


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; head: the names of its columns as they stand in its first line."""
    rule = " | ".join("---" for _ in head.split(" | "))
    return "".join(f"| {line} |\n" for line in (head, rule, *map(" | ".join, rows)))


BLOCKS: Mapping[str, Callable[[], str]] = {
    "qtune presets --markdown": presets,
    "rules": rules,
    "failures": failures,
    "cards": known_cards,
    "toolkits": toolkits,
    "memory": memory,
    "memory, in short": memory_in_short,
}


def main() -> None:
    """Write each document that is not current, and the picture, and say which."""
    texts = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
    written = {path: current(text) for path, text in texts.items()} | {PICTURE: drawing()}
    for path, new in written.items():
        if not path.exists() or path.read_text(encoding="utf-8") != new:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {path.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
