"""Our own SVG: lines over days, and small ones without an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

from billtrack.presentation.charts import BASE, TOP, Paper, Series, _dotted, _Plot
from billtrack.presentation.drawings import (
    WHOLE,
    Drawing,
    Key,
    Point,
    laid,
    path,
    stretched,
    stroke,
)
from billtrack.presentation.filters import day

SPARK_HEIGHT, SPARK_EDGE = 40, 4
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of the days that follow; `band` is between which two values each lies."""

    values: Sequence[int]
    band: Sequence[tuple[int, int]] = ()


def sparkline(values: Sequence[int], *, title: str, colour: int = 1) -> Markup:
    """Draw at least one value as a small line without an axis, with a dot at the last.

    The foot of the line is zero. `title` says in words what it shows.
    """
    low, high = min(0, *values), max(1, *values)
    room, steps = 100 * (SPARK_HEIGHT - 2 * SPARK_EDGE), max(len(values) - 1, 1)
    points = [
        (
            WHOLE - WHOLE * (len(values) - 1 - index) // steps,
            100 * SPARK_EDGE + room * (high - value) // (high - low),
        )
        for index, value in enumerate(values)
    ]
    line = stretched([path(points, stroke(colour, paper=None), paper=None)], SPARK_HEIGHT)
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="spark" role="img" width="100%" '
        'height="{}"><title>{}</title>{}<circle cx="100%" cy="{}" r="3" class="chart-{}"/></svg>'
    ).format(SPARK_HEIGHT, title, line, _dotted(points[-1][1]), colour)


def line_chart(
    days: Sequence[date],
    actual: Series,
    forecast: Forecast | None = None,
    *,
    title: str,
    tell: Callable[[int], str],
    factor: int,
    paper: Paper | None = None,
) -> Drawing:
    """Draw the values of the first days, and a dashed line within its band for the rest.

    There is one value for each day, in `actual` or else in `forecast`. `factor` is how many of
    their units one unit of the axis has; `tell` writes one value, for tooltips and rows.
    """
    ahead = forecast or Forecast([])
    values = [*actual.values, *ahead.values]
    spans = [(value, value) for value in actual.values]
    spans += ahead.band or [(value, value) for value in ahead.values]
    columns = [
        [max(0, value, *span), min(0, value, *span)]
        for _, value, span in zip(days, values, spans, strict=True)
    ]
    plot = _Plot(columns, factor, paper)
    points = [(_middle(index, len(days)), plot.y(value)) for index, value in enumerate(values)]
    edges = [(plot.y(low), plot.y(high)) for low, high in spans] if ahead.band else []
    heads, rows = _day_rows(days, actual, ahead, tell)
    parts = [
        Markup("<desc>{}</desc>").format(_describe(days, actual, ahead, tell)),
        plot.grid(),
        *(_hit(plot, index, points, heads, row) for index, row in enumerate(rows)),
        plot.day_labels(days),
        *laid(_day_shapes(points, edges, actual, paper), paper),
    ]
    legend = [Key(actual.label, actual.colour)]
    legend += [Key("Forecast", "forecast")] if ahead.values else []
    return Drawing(title, plot.frame(title, Markup().join(parts)), legend, heads, rows)


def _day_rows(
    days: Sequence[date], actual: Series, ahead: Forecast, tell: Callable[[int], str]
) -> tuple[list[str], list[list[str]]]:
    heads = ["Day", actual.label]
    rows = [[day(when), tell(value)] for when, value in zip(days, actual.values, strict=False)]
    if not ahead.values:
        return heads, rows
    columns = 2 if ahead.band else 1
    rows = [[*row, *[NOTHING] * columns] for row in rows]
    ranges = [f"{tell(low)} to {tell(high)}" for low, high in ahead.band]
    for index, value in enumerate(ahead.values):
        when = days[len(actual.values) + index]
        rows.append([day(when), NOTHING, tell(value), *ranges[index : index + 1]])
    return [*heads, *("Forecast", "Range")[:columns]], rows


def _describe(
    days: Sequence[date], actual: Series, ahead: Forecast, tell: Callable[[int], str]
) -> str:
    said = []
    if actual.values:
        until = days[len(actual.values) - 1]
        said.append(f"{actual.label}: {tell(actual.values[-1])} on {day(until)}")
    if ahead.values:
        said.append(f"expected: {tell(ahead.values[-1])} on {day(days[-1])}")
    if ahead.band:
        low, high = ahead.band[-1]
        said.append(f"probably between {tell(low)} and {tell(high)}")
    return ", ".join(said) + "."


def _day_shapes(
    points: Sequence[Point],
    edges: Sequence[tuple[int, int]],
    actual: Series,
    paper: Paper | None,
) -> list[Markup]:
    """Return the band and both lines; what is expected goes on from the last that is known."""
    known = len(actual.values)
    turn = max(known - 1, 0)
    shapes = []
    if edges:
        lows = [(x, low) for (x, _), (low, _) in zip(points, edges, strict=True)][turn:]
        highs = [(x, high) for (x, _), (_, high) in zip(points, edges, strict=True)][turn:]
        kind = Markup('class="chart-band"') if paper is None else paper.paints["forecast"]
        shapes.append(path([*lows, *reversed(highs)], kind, paper))
    if len(points) > known:
        shapes.append(path(points[turn:], stroke("forecast", paper), paper))
    if known:
        shapes.append(path(points[:known], stroke(actual.colour, paper), paper))
    return shapes


def _hit(
    plot: _Plot, index: int, points: Sequence[Point], heads: Sequence[str], row: Sequence[str]
) -> Markup:
    """Return what tells one day's figures under the pointer; paper has none."""
    if plot.paper is not None:
        return Markup()
    left, right = index * WHOLE // len(points), (index + 1) * WHOLE // len(points)
    told = zip(heads[1:], row[1:], strict=True)
    title = f"{row[0]}: " + ", ".join(f"{head} {text}" for head, text in told if text != NOTHING)
    x, y = points[index]
    return Markup(
        '<g class="chart-day"><title>{}</title><rect x="{}" y="{}" width="{}" height="{}" {}/>'
        '<circle cx="{}" cy="{}" r="3.5" class="chart-dot"/></g>'
    ).format(title, plot.x(left), TOP, plot.x(right - left), BASE - TOP, plot.paint("hit"),
             plot.x(x), _dotted(y))  # fmt: skip


def _middle(index: int, count: int) -> int:
    return (2 * index + 1) * WHOLE // (2 * count)
