"""How long a dataset's rows are, as one web page."""

from __future__ import annotations

from typing import Any

from qtune.data.lengths.statistics import Statistics
from qtune.pages import page as pages
from qtune.units import counted

_BINS = 40
_WIDTH, _HEIGHT = 880, 350
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 84, 56
_FLOOR, _END = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT

Shape = tuple[str, dict[str, Any], str]
"""An element of SVG: its tag, its attributes, and its text."""


def page(found: Statistics) -> str:
    """HTML with the histogram of tokens, its percentiles, cutoff_len, and the figures as tables."""
    figures = [
        ("Rows", f"{found.rows:,}"),
        ("Left out or unreadable", f"{found.left_out:,}"),
        ("Tokens", found.tokenizer),
        ("cutoff_len", f"{found.cutoff_len:,}"),
        *_meaning(found),
    ]
    shapes, caption = _histogram(found)
    values = {
        "title": f"{found.name}: tokens in a row",
        "stage": found.stage,
        "template": found.template,
        "width": _WIDTH,
        "height": _HEIGHT,
        "shapes": shapes,
        "caption": caption,
        "columns": ("a row has", "in all", "mean", *found.tokens.percentiles),
        "spreads": [
            ("Turns", *found.turns.figures),
            ("Characters", *found.characters.figures),
            ("Tokens", *found.tokens.figures),
        ],
        "figures": figures,
        "turns": [(turns, f"{rows:,}") for turns, rows in found.rows_by_turns.items()],
    }
    return pages.page("lengths", values)


def _meaning(found: Statistics) -> list[tuple[str, str]]:
    """What follows from the tokens, where all are counted."""
    recommended, packed = found.recommended_cutoff_len, found.padding.with_packing
    if recommended is None:
        return [("Images, videos and audios", f"are not among the tokens: {found.uncounted}")]
    whole = 1 - found.share_cut(recommended)
    return [
        ("Rows longer than that", f"{found.cut:,} ({found.cut / found.rows:.1%})"),
        ("Rows that lose tokens to train on", f"{found.answers_cut:,}"),
        ("Tokens trained on in an epoch", f"{found.labels:,} of {found.kept:,} ({found.label_share:.1%})"),
        (f"Padding in batches of {found.batch_size}", f"{found.padding.without_packing:.1%}"),
        ("Padding with packing", "–" if packed is None else f"{packed:.1%}"),
        ("Recommended cutoff_len", f"{recommended:,}: {whole:.1%} of the rows stay whole"),
    ]


def _histogram(found: Statistics) -> tuple[list[Shape], str]:
    """The shapes, and what the picture says in words."""
    bins = found.histogram(_BINS)
    start = bins[0][0]
    width = bins[1][0] - start if len(bins) > 1 else bins[0][1] - start + 1
    end = start + width * len(bins)
    most = max(rows for _, _, rows in bins)

    def across(tokens: float) -> float:
        return _LEFT + (_END - _LEFT) * (min(tokens, end) - start) / (end - start)

    def up(rows: float) -> float:
        return _FLOOR - (_FLOOR - _TOP) * rows / most

    shapes = []
    for rows in (round(most * share) for share in (0.5, 1)):
        shapes += [
            _stroke(_LEFT, up(rows), _END, up(rows), "grid"),
            _label(_LEFT - 6, up(rows) + 4, f"{rows:,}", "end"),
        ]
    for index, (first, last, rows) in enumerate(bins):
        left, right = across(start + index * width), across(start + (index + 1) * width)
        if rows:
            place = _places(
                x=left + 0.5, y=up(rows), width=max(right - left - 1, 0.5), height=_FLOOR - up(rows)
            )
            shapes.append(("rect", place, f"{first:,}–{last:,} tokens: {counted(rows, 'row')}"))
    shapes.append(_stroke(_LEFT, _FLOOR, _END, _FLOOR, "axis"))
    for index in range(0, len(bins) + 1, max(len(bins) // 8, 1)):
        tokens = start + index * width
        shapes.append(_label(across(tokens), _FLOOR + 18, f"{tokens:,}", "middle"))
    shapes.append(_label((_LEFT + _END) / 2, _FLOOR + 40, "tokens in a row", "middle"))
    for level, (name, tokens) in enumerate(found.tokens.percentiles.items()):
        if name != "max":
            shapes += _mark(across(tokens), 14 + 14 * level, f"{name} {tokens:,}")
    cutoff_len = f"cutoff_len {found.cutoff_len:,}"
    if start <= found.cutoff_len <= end:
        shapes += _mark(across(found.cutoff_len), _TOP - 12, cutoff_len, "cut")
    else:
        arrow = "→" if found.cutoff_len > end else "←"
        shapes.append(_label(_END, _TOP - 12, f"{cutoff_len} {arrow}", "end", "cut"))
    more = f"; the last bar goes on to {bins[-1][1]:,}" if bins[-1][1] >= end else ""
    dashed = "Dashed: half, 90%, 95% and 99% of the rows are no longer."
    return shapes, f"Each bar is {counted(width, 'token')} wide{more}. {dashed}"


def _mark(place: float, height: float, label: str, kind: str = "mark") -> list[Shape]:
    """A line down from its label, which stands on the side where there is room."""
    right = place < _WIDTH * 0.8
    text = _label(place + (4 if right else -4), height, label, "start" if right else "end", kind)
    return [_stroke(place, height - 8, place, _FLOOR, kind), text]


def _stroke(x1: float, y1: float, x2: float, y2: float, kind: str) -> Shape:
    return "line", {"class": kind, **_places(x1=x1, y1=y1, x2=x2, y2=y2)}, ""


def _label(x: float, y: float, text: str, anchor: str, kind: str = "label") -> Shape:
    return "text", {"class": kind, **_places(x=x, y=y), "text-anchor": anchor}, text


def _places(**numbers: float) -> dict[str, str]:
    return {name: f"{number:.1f}" for name, number in numbers.items()}
