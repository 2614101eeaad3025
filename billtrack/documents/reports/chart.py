"""The chart of a PDF report: the daily cost, stacked by event.

One path for each event, a stroke as wide as a bar for each day: WeasyPrint takes its time for
every shape, and for every command in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup

from billtrack.core.money import minor_unit_places
from billtrack.documents.reports.catalog import UsageReport
from billtrack.presentation.charts import HAIRLINE, Paper, Series, _dotted, _Plot, read_paper
from billtrack.presentation.filters import MeterView
from billtrack.presentation.pdf.rendering import STATIC

WIDTH = 480
"""Of the plot, in CSS pixels."""


@dataclass(frozen=True, slots=True)
class PaperChart:
    """A drawing and the series in it."""

    title: str
    svg: Markup
    series: Sequence[Series]


def cost_by_day(report: UsageReport, meters: Mapping[str, MeterView]) -> PaperChart | None:
    """Draw what each day cost, or None where nothing cost anything."""
    days = list(report.shown)
    series = [
        Series(meter.name, meter.colour, [report.costs.get(code, {}).get(day, 0) for day in days])
        for code, meter in meters.items()
        if any(report.costs.get(code, {}).values())
    ]
    if not series:
        return None
    columns = [[one.values[index] for one in series] for index in range(len(days))]
    plot = _Plot(columns, 10 ** minor_unit_places(report.currency), _paper())
    title = f"Cost by day, {report.currency}"
    shapes = Markup().join([plot.grid(), plot.day_labels(days), *_bars(plot, columns, series)])
    return PaperChart(title, plot.frame(title, shapes), series)


@cache
def _paper() -> Paper:
    return read_paper(STATIC / "css" / "tokens.css", width=WIDTH)


def _bars(plot: _Plot, columns: Sequence[Sequence[int]], series: Sequence[Series]) -> list[Markup]:
    strokes: list[list[str]] = [[] for _ in series]
    for index, column in enumerate(columns):
        middle = plot.x((2 * index + 1) * 5000 // plot.slots)
        ends = {False: 0, True: 0}  # where the last bar above and under zero ended
        for number, value in enumerate(column):
            start = ends[value < 0]
            ends[value < 0] = start + value
            upper, lower = sorted((plot.y(start), plot.y(start + value)))
            height = lower - upper - (HAIRLINE if lower - upper > 2 * HAIRLINE else 0)
            if height:
                strokes[number].append(f"M{middle} {_dotted(upper)}v{_dotted(height)}")
    mark = Markup('<path d="{}" fill="none" stroke-width="{}" {}/>')
    width = plot.x(8600 // plot.slots)  # the rest is the gap to the next day
    return [
        mark.format("".join(lines), width, plot.paint(one.colour).replace("fill=", "stroke="))
        for lines, one in zip(strokes, series, strict=True)
        if lines
    ]
