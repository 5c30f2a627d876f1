"""Draw docs/memory.svg: predicted against published peaks of GPU memory, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping
from math import log10
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from published_memory import MEASURES, sources

PICTURE = Path(__file__).with_name("memory.svg")
TEMPLATE = Path(__file__).with_name("memory.svg.jinja")
SIZE, MARGIN = 640, 60  # of a square drawing
LEAST, MOST = 0.8e9, 200e9  # bytes at the ends of both axes
TICKS = (1, 2, 5, 10, 20, 50, 100)  # GB
MARKS: Mapping[str, tuple[str, str]] = {
    "allocated": ("circle", "#1b6fb3"),
    "reserved": ("square", "#b3541b"),
    "whole": ("triangle", "#2f7d32"),
}
SHAPES: Mapping[str, str] = {
    "circle": '<circle cx="{x}" cy="{y}" r="3.5"/>',
    "square": '<path d="M{x} {y}m-3 -3h6v6h-6z"/>',
    "triangle": '<path d="M{x} {y}m0 -4l4 7h-8z"/>',
}


def drawing() -> str:
    """The picture as it has to be today: the comparable rows of all pages, by how they were measured."""
    rows = [row for source in sources() for row in source.comparable]
    series = []
    for measure, (shape, colour) in MARKS.items():
        points = sorted(_point(row.bytes, row.predicted[0]) for row in rows if row.measure == measure)
        said = f"{MEASURES[measure]}, {len(points)} rows"
        series.append({"label": said, "shape": shape, "colour": colour, "points": points})
    low, high = 0.9, 1.1
    band = (
        (LEAST, LEAST),
        (LEAST / low, LEAST),
        (MOST, low * MOST),
        (MOST, MOST),
        (MOST / high, MOST),
        (LEAST, high * LEAST),
    )
    environment = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        size=SIZE,
        margin=MARGIN,
        band=[_point(*corner) for corner in band],
        ticks=[(_point(tick * 1e9, LEAST)[0], tick) for tick in TICKS],
        all_series=series,
        mark=lambda shape, x, y: SHAPES[shape].format(x=x, y=y),
    )


def _point(published: float, predicted: float) -> tuple[float, float]:
    """Where a row stands, no further out than the axes reach."""
    wide = (SIZE - 2 * MARGIN) / log10(MOST / LEAST)
    x, y = (log10(min(max(size, LEAST), MOST) / LEAST) * wide for size in (published, predicted))
    return round(MARGIN + x, 1), round(SIZE - MARGIN - y, 1)
