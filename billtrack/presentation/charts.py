"""Our own SVG: daily bars, stacked by event, for pages and PDF documents.

On a page, x runs in per cent and y in pixels, so that bars stretch with the page while
text keeps its size; colours come from classes. On paper (`Paper`), coordinates are fixed
and colours are attributes. Coordinates are whole hundredths, never floats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path

from markupsafe import Markup

from billtrack.presentation.filters import axis_text, day, day_short
from billtrack.presentation.pdf.tokens import read_tokens

HEIGHT, TOP, BASE = 216, 8, 192  # of the drawing, its highest and its lowest line
GUTTER = 44  # room for the labels of the axis on paper; pages leave it by a margin
STEPS = 4  # lines to aim at above zero
LABELS = 7  # days that are named at most
LABELS_ON_PAPER = 4
STEPS_ON_PAPER = 3
HAIRLINE = 100  # between two events, in hundredths


@dataclass(frozen=True, slots=True)
class Series:
    """One event's values, one for each day, in integers (minor units or base units)."""

    label: str
    colour: int | str  # 1 to 4, or "forecast"
    values: Sequence[int]


@dataclass(frozen=True, slots=True)
class Paper:
    """Width in points and attributes for print, which knows neither classes nor tokens."""

    width: int
    paints: Mapping[str, Markup]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing, and the same figures as rows of text; the last of each row is its sum."""

    title: str
    svg: Markup
    series: Sequence[Series]
    rows: Sequence[tuple[date, Sequence[str]]]


def daily_chart(
    days: Sequence[date],
    series: Sequence[Series],
    *,
    title: str,
    tell: Callable[[int], str],
    factor: int,
    paper: Paper | None = None,
) -> Chart:
    """Stack the series by day; `factor` is how many of their units one unit of the axis has.

    Days are consecutive; `tell` writes one value, for tooltips and rows. Negative values
    (a day of a volume price) hang under the zero line.
    """
    columns = [[one.values[index] for one in series] for index in range(len(days))]
    plot = _Plot(columns, factor, paper)
    rows = [
        (when, [tell(value) for value in [*column, sum(column)]])
        for when, column in zip(days, columns, strict=True)
    ]
    parts = [plot.grid(), plot.day_labels(days)]
    for index, (when, texts) in enumerate(rows):
        told = ", ".join(f"{one.label} {text}" for one, text in zip(series, texts, strict=False))
        parts.append(plot.bars(index, columns[index], series, f"{day(when)}: {told}"))
    return Chart(title, plot.frame(title, Markup().join(parts)), series, rows)


def read_paper(tokens: Path, *, width: int) -> Paper:
    """Take the light colours for print from tokens.css, the one place that names colours."""
    colours = read_tokens(tokens)
    fill, stroke = Markup('fill="{}"'), Markup('stroke="{}" stroke-width="0.6"')
    paints = {str(n): fill.format(colours[f"event-{n}"]) for n in (1, 2, 3, 4)}
    paints["forecast"] = fill.format(colours["forecast"])
    paints["line"] = stroke.format(colours["line"])
    paints["zero"] = stroke.format(colours["ink-3"])
    paints["text"] = fill.format(colours["ink-3"]) + Markup(
        ' font-size="9" font-family="Inter Print"'
    )
    return Paper(width, paints)


class _Plot:
    """Where things stand: in hundredths of per cent across, of pixels down."""

    def __init__(self, columns: list[list[int]], factor: int, paper: Paper | None) -> None:
        low = min([0, *(sum(value for value in column if value < 0) for column in columns)])
        high = max([0, *(sum(value for value in column if value > 0) for column in columns)])
        self.paper, self.factor, self.slots = paper, factor, max(len(columns), 1)
        steps = STEPS if paper is None else STEPS_ON_PAPER
        self.step = _round_step(Fraction(max(high - low, 1), steps * factor)) * factor
        self.bottom = low // self.step * self.step
        self.top = max(-(-high // self.step), 1) * self.step
        # y() in whole numbers: making a fraction takes ten times as long, and a year has thousands.
        self._scale = self.step.denominator
        self._scaled_top = int(self.top * self._scale)
        rise = Fraction(100 * (BASE - TOP)) / ((self.top - self.bottom) * self._scale)
        self._up, self._down = rise.numerator, rise.denominator

    def x(self, hundredths: int) -> str:
        if self.paper is None:
            return f"{_dotted(hundredths)}%"
        return _dotted(hundredths * self.paper.width // 100)

    def y(self, value: Fraction | int) -> int:
        below_top = self._scaled_top - value * self._scale
        return 100 * TOP + int((2 * below_top * self._up + self._down) // (2 * self._down))

    def paint(self, kind: int | str) -> Markup:
        if self.paper is None:
            return Markup('class="chart-{}"').format(kind)
        return self.paper.paints[str(kind)]

    def grid(self) -> Markup:
        mark = Markup(
            '<line x1="0" x2="{}" y1="{}" y2="{}" {}/>'
            '<text x="-8" y="{}" dy="3.5" text-anchor="end" {}>{}</text>'
        )
        parts, level = [], self.bottom
        while level <= self.top:
            y, kind = _dotted(self.y(level)), self.paint("line" if level else "zero")
            label = axis_text(level / self.factor)
            parts.append(mark.format(self.x(10000), y, y, kind, y, self.paint("text"), label))
            level += self.step
        return Markup().join(parts)

    def day_labels(self, days: Sequence[date]) -> Markup:
        most = LABELS if self.paper is None else LABELS_ON_PAPER
        every = 1 if self.slots <= most else max(5, -(-self.slots // most))
        mark = Markup('<text x="{}" y="{}" text-anchor="{}" {}>{}</text>')
        parts = []
        for index in range(0, len(days), every):
            at, anchor = (2 * index + 1) * 5000 // self.slots, "middle"
            ends_paper = self.paper is not None and index == self.slots - 1
            if ends_paper and every > 1:  # a page has room beside the plot
                at, anchor = 10000, "end"
            label = day_short(days[index])
            parts.append(mark.format(self.x(at), BASE + 18, anchor, self.paint("text"), label))
        return Markup().join(parts)

    def bars(self, index: int, column: list[int], series: Sequence[Series], title: str) -> Markup:
        left, right = index * 10000 // self.slots, (index + 1) * 10000 // self.slots
        gap = (right - left) * 7 // 100
        mark = Markup('<rect x="{}" y="{}" width="{}" height="{}" {}/>')
        parts = [Markup("<title>{}</title>").format(title)]
        if self.paper is None:
            whole = (self.x(left), TOP, self.x(right - left), BASE - TOP, self.paint("hit"))
            parts.append(mark.format(*whole))
        ends = {False: 0, True: 0}  # where the last bar above and under zero ended
        for value, one in zip(column, series, strict=True):
            start = ends[value < 0]
            ends[value < 0] = start + value
            upper, lower = sorted((self.y(start), self.y(start + value)))
            height = lower - upper - (HAIRLINE if lower - upper > 2 * HAIRLINE else 0)
            if height:
                across = (self.x(left + gap), self.x(right - left - 2 * gap))
                box = (across[0], _dotted(upper), across[1], _dotted(height))
                parts.append(mark.format(*box, self.paint(one.colour)))
        return Markup('<g class="chart-day">{}</g>').format(Markup().join(parts))

    def frame(self, title: str, inner: Markup) -> Markup:
        size = Markup('width="100%" height="{}"').format(HEIGHT)
        if self.paper is not None:
            wide = self.paper.width + GUTTER
            box = Markup('viewBox="{} 0 {} {}" width="{}" height="{}"')
            size = box.format(-GUTTER, wide, HEIGHT, wide, HEIGHT)
        return Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" role="img" {}><title>{}</title>{}</svg>'
        ).format(size, title, inner)


def _round_step(least: Fraction) -> Fraction:
    """Find the smallest 1, 2 or 5 times a power of ten that is not below `least`."""
    power = Fraction(1)
    while power > least:
        power /= 10
    while power * 10 <= least:
        power *= 10
    return next(power * times for times in (1, 2, 5, 10) if power * times >= least)


def _dotted(hundredths: int) -> str:
    """Write hundredths as a decimal number: 1250 -> 12.5."""
    sign, size = ("-", -hundredths) if hundredths < 0 else ("", hundredths)
    return f"{sign}{size // 100}.{size % 100:02d}".rstrip("0").rstrip(".")
