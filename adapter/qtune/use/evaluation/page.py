"""The answers of an evaluation as one web page that needs nothing but itself."""

from __future__ import annotations

from html import escape

from qtune.use.evaluation.scores import Result
from qtune.use.evaluation.table import table

_MOST_ROWS = 1000
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #fff; --soft: #6e7781; --line: #d1d9e0;
  --same: #dafbe1 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --soft: #8b949e; --line: #3d444d; --same: #12361f } }
body { font: 15px/1.5 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
  color: var(--ink); background: var(--paper); max-width: 1400px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } p { color: var(--soft) }
table { border-collapse: collapse; margin: 1.5rem 0 } thead { border-bottom: 1px solid var(--soft) }
td, th { padding: .35rem .9rem; text-align: left; vertical-align: top }
.scores td + td, .scores th + th { text-align: right }
.rows { table-layout: fixed; width: 100% } .rows tbody tr { border-bottom: 1px solid var(--line) }
.rows td { white-space: pre-wrap; overflow-wrap: anywhere } .rows th:first-child { width: 3rem }
.rows td:first-child { color: var(--soft) } .same { background: var(--same) }
"""


def page(result: Result) -> str:
    """HTML with the scores, and each row's prompt, reference and answers; equal ones are marked."""
    title = escape(f"{result.run} on {result.dataset}")
    columns, scores = table(result)
    whose = [item.whose for item in result.scores]
    shown = result.answers[:_MOST_ROWS]
    more = len(result.answers) - len(shown)
    left_out = f" The other {more:,} rows are in rows.jsonl." if more else ""
    head = "".join(f"<th>{name}</th>" for name in ("row", "prompt", "reference", *whose))
    body = []
    for row in shown:
        cells = [f"<td>{row['row']}</td><td>{_text(row['prompt'])}</td><td>{_text(row['reference'])}</td>"]
        for name in whose:
            # what ends the turn in a template is part of the reference, and ends the answer
            same = ' class="same"' if row[name].strip() == row["reference"].strip() else ""
            cells.append(f"<td{same}>{_text(row[name])}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>\n")
    lines = "".join(f"<tr>{_cells('td', line)}</tr>" for line in scores)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{title}</h1>\n"
        f"<table class='scores'><thead><tr>{_cells('th', columns)}</tr></thead>"
        f"<tbody>{lines}</tbody></table>\n"
        f"<p>Green: the answer is the reference.{left_out}</p>\n"
        f'<table class="rows"><thead><tr>{head}</tr></thead><tbody>\n{"".join(body)}</tbody></table>\n'
        "</html>\n"
    )


def _cells(tag: str, texts: list[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _text(text: str) -> str:
    """A model may answer anything; what HTML has no sign for is shown as a question mark."""
    return escape("".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text))
