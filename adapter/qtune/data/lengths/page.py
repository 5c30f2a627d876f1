"""A dataset's statistics as one web page that needs nothing but itself."""

from __future__ import annotations

from html import escape

from qtune.data.lengths.statistics import Distribution, Statistics

_BINS = 40
_WIDTH, _HEIGHT = 880, 350
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 84, 56

_STYLE = """
:root { color-scheme: light dark;
  --ink: #1f2328; --paper: #fff; --soft: #6e7781; --bar: #4c8bf5; --cut: #d1242f }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --soft: #8b949e; --bar: #4c8bf5; --cut: #ff7b72 } }
body { font: 15px/1.5 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
  color: var(--ink); background: var(--paper); max-width: 920px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
p, figcaption { color: var(--soft) } figure { margin: 0 } svg { width: 100%; height: auto }
table { border-collapse: collapse } td, th { padding: .25rem .9rem; text-align: right }
td:first-child, th:first-child { text-align: left } thead { border-bottom: 1px solid var(--soft) }
rect { fill: var(--bar) } text { fill: var(--ink); font-size: 12px } line { stroke: var(--soft) }
.grid { stroke-opacity: .3 } .mark { stroke-dasharray: 3 3 }
line.cut { stroke: var(--cut); stroke-width: 2 } text.cut { fill: var(--cut) }
"""


def page(found: Statistics) -> str:
    """HTML with the histogram of tokens, its percentiles, cutoff_len, and the figures as tables."""
    title = escape(f"{found.name}: tokens in a row")
    packed = found.padding.with_packing
    recommended = found.recommended_cutoff_len
    facts = [
        ("Rows", f"{found.rows:,}"),
        ("Left out or unreadable", f"{found.left_out:,}"),
        ("Tokens", found.tokenizer),
        ("cutoff_len", f"{found.cutoff_len:,}"),
        ("Rows longer than that", f"{found.cut:,} ({found.cut / found.rows:.1%})"),
        ("Rows that lose tokens to train on", f"{found.answers_cut:,}"),
        ("Tokens trained on in an epoch", f"{found.labels:,} of {found.kept:,} ({found.label_share:.1%})"),
        (f"Padding in batches of {found.batch_size}", f"{found.padding.without_packing:.1%}"),
        ("Padding with packing", "–" if packed is None else f"{packed:.1%}"),
        (
            "Recommended cutoff_len",
            f"{recommended:,}: {1 - found.share_cut(recommended):.1%} of the rows stay whole",
        ),
    ]
    spreads = [("Turns", found.turns), ("Characters", found.characters), ("Tokens", found.tokens)]
    head = "".join(f"<th>{name}</th>" for name in ("a row has", "in all", "mean", *found.tokens.percentiles))
    turns = "".join(
        f"<tr><td>{turns}</td><td>{rows:,}</td></tr>" for turns, rows in found.rows_by_turns.items()
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{title}</h1>\n"
        f"<p>stage {escape(found.stage)}, template {escape(found.template)}</p>\n{_histogram(found)}\n"
        f"<h2>Spread</h2>\n<table><thead><tr>{head}</tr></thead>"
        f"{''.join(_row(name, spread) for name, spread in spreads)}</table>\n"
        f"<h2>Figures</h2>\n<table>"
        f"{''.join(f'<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>' for name, value in facts)}"
        f"</table>\n<h2>Rows by turns</h2>\n<table><thead><tr><th>turns</th><th>rows</th></tr></thead>"
        f"{turns}</table>\n</html>\n"
    )


def _row(name: str, spread: Distribution) -> str:
    values = (
        f"{spread.total:,}",
        f"{spread.mean:,.1f}",
        *(f"{value:,}" for value in spread.percentiles.values()),
    )
    return f"<tr><td>{name}</td>{''.join(f'<td>{value}</td>' for value in values)}</tr>"


def _histogram(found: Statistics) -> str:
    bins = found.histogram(_BINS)
    start = bins[0][0]
    width = bins[1][0] - start if len(bins) > 1 else bins[0][1] - start + 1
    end = start + width * len(bins)
    most = max(rows for _, _, rows in bins)
    floor = _HEIGHT - _BOTTOM

    def across(tokens: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (min(tokens, end) - start) / (end - start)

    def up(rows: float) -> float:
        return floor - (floor - _TOP) * rows / most

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="rows by tokens">']
    for share in (0.5, 1):
        rows = round(most * share)
        parts.append(_line(_LEFT, up(rows), _WIDTH - _RIGHT, up(rows), "grid"))
        parts.append(_text(_LEFT - 6, up(rows) + 4, f"{rows:,}", "end"))
    for index, (first, last, rows) in enumerate(bins):
        left, right = across(start + index * width), across(start + (index + 1) * width)
        if rows:
            said = f"{first:,}–{last:,} tokens: {rows:,} rows"
            parts.append(
                f'<rect x="{left + 0.5:.1f}" y="{up(rows):.1f}" width="{max(right - left - 1, 0.5):.1f}" '
                f'height="{floor - up(rows):.1f}"><title>{said}</title></rect>'
            )
    parts.append(_line(_LEFT, floor, _WIDTH - _RIGHT, floor, "axis"))
    for index in range(0, len(bins) + 1, max(len(bins) // 8, 1)):
        tokens = start + index * width
        parts.append(_text(across(tokens), floor + 18, f"{tokens:,}", "middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, floor + 40, "tokens in a row", "middle"))
    for level, (name, tokens) in enumerate(found.tokens.percentiles.items()):
        if name != "max":
            parts += _mark(across(tokens), 14 + 14 * level, f"{name} {tokens:,}")
    if start <= found.cutoff_len <= end:
        parts += _mark(across(found.cutoff_len), _TOP - 12, f"cutoff_len {found.cutoff_len:,}", "cut")
    else:
        arrow = "→" if found.cutoff_len > end else "←"
        label = f"cutoff_len {found.cutoff_len:,} {arrow}"
        parts.append(_text(_WIDTH - _RIGHT, _TOP - 12, label, "end", "cut"))
    more = f"; the last bar goes on to {bins[-1][1]:,}" if bins[-1][1] >= end else ""
    caption = (
        f"Each bar is {width:,} tokens wide{more}. Dashed: half, 90%, 95% and 99% of the rows are no longer."
    )
    return f"<figure>{''.join(parts)}</svg><figcaption>{caption}</figcaption></figure>"


def _mark(place: float, height: float, label: str, kind: str = "mark") -> list[str]:
    """A line down from its label, which stands on the side where there is room."""
    right = place < _WIDTH * 0.8
    text = _text(place + (4 if right else -4), height, label, "start" if right else "end", kind)
    return [_line(place, height - 8, place, _HEIGHT - _BOTTOM, kind), text]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
