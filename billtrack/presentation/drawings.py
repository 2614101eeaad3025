"""What lines and curves are drawn with.

They stand in the frame of `charts`. A path knows no per cent: on a page it lies in a drawing
of its own, 10,000 wide, which stretches with the page while strokes keep their width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from billtrack.presentation.charts import HEIGHT, Paper, _dotted

WHOLE = 10_000  # the width of a drawing, in hundredths of per cent

Point = tuple[int, int]
"""Hundredths of per cent across, hundredths of pixels down."""


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of the legend."""

    label: str
    colour: int | str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing, and the same figures as a table; the first cell of each row is its head."""

    title: str
    svg: Markup
    legend: Sequence[Key]
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def path(points: Sequence[Point], kind: Markup, paper: Paper | None) -> Markup:
    """Join the points by a line; `kind` says how it is drawn."""
    steps = [
        f"{x if paper is None else _dotted(x * paper.width // 100)} {_dotted(y)}" for x, y in points
    ]
    return Markup('<path d="M{}" {}/>').format("L".join(steps), kind)


def stroke(colour: int | str, paper: Paper | None) -> Markup:
    """Return how a line is drawn: by classes, on paper by the colour that fills have there."""
    if paper is None:
        return Markup('class="chart-stroke chart-stroke-{}"').format(colour)
    if colour == "forecast":
        return Markup('fill="none" stroke-dasharray="3 3" {}').format(paper.paints["zero"])
    drawn = paper.paints[str(colour)].replace("fill=", "stroke=")
    return Markup('fill="none" stroke-width="1.5" {}').format(drawn)


def laid(shapes: Sequence[Markup], paper: Paper | None) -> list[Markup]:
    """Lay shapes into the frame of a chart: on a page so that they stretch with it."""
    return list(shapes) if paper is not None else [stretched(shapes, HEIGHT)]


def stretched(shapes: Sequence[Markup], height: int) -> Markup:
    """Return a drawing of its own that is as wide as the page lets it be."""
    return Markup(
        '<svg class="chart-lines" aria-hidden="true" width="100%" height="{}" '
        'viewBox="0 0 {} {}" preserveAspectRatio="none">{}</svg>'
    ).format(height, WHOLE, height, Markup().join(shapes))
