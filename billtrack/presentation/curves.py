"""Our own SVG: what a quantity costs as it grows through the tiers of a charge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

from markupsafe import Markup

from billtrack.billing.pricing.charges import Charge
from billtrack.billing.pricing.rating import Rated, rate
from billtrack.core.money import minor_unit_places
from billtrack.presentation.charts import BASE, TOP, Paper, _dotted, _Plot, _round_step
from billtrack.presentation.drawings import WHOLE, Drawing, Key, Point, laid, path, stroke
from billtrack.presentation.filters import MeterView, axis_text, bound, money

SAMPLES = 60  # points of a curve besides those where its price changes
NEAR = 1000  # labels of the axis keep this far apart
LEFT = 3000  # a point further to the left has its label at its right
BEYOND = Fraction(5, 4)  # of the tier that the quantity is in, so that the next is seen


def tier_curve(
    charge: Charge,
    quantity: int,
    *,
    currency: str,
    meter: MeterView,
    title: str,
    paper: Paper | None = None,
) -> Drawing:
    """Draw what the charge asks for every quantity (base units), its bounds, and a dot for now.

    The curve ends beyond the tier that the quantity is in, or beyond the first that costs.
    """
    cost = partial(rate, charge=charge, currency=currency)
    end = _end(max(quantity, charge.per), _bounds(charge), cost, meter.factor)
    marks = [mark for mark in _bounds(charge) if mark < end]
    curve = {sample: cost(quantity=sample) for sample in _samples(end, [*marks, quantity])}
    factor = 10 ** minor_unit_places(currency)
    highest = max(one.exact_amount for one in curve.values())
    plot = _Plot([[max(1, -(-highest * factor // 1))]], factor, paper)
    points = {
        sample: (WHOLE * sample // end, plot.y(one.exact_amount * factor))
        for sample, one in curve.items()
    }
    amount = money(curve[quantity].amount, currency)
    told = f"{meter.name}: {bound(quantity, meter)} cost {amount}"
    changes = ", ".join(bound(mark, meter) for mark in marks) or "no quantity shown here"
    line = path(list(points.values()), stroke(meter.colour, paper), paper)
    parts = [
        Markup("<desc>{}. The price changes at {}.</desc>").format(told, changes),
        plot.grid(),
        *(_mark(plot, points[mark][0]) for mark in marks),
        *_quantity_labels(plot, {n: points[n][0] for n in [*marks, end]}, meter),
        *laid([line], paper),
        _dot(plot, points[quantity], told, amount, meter.colour),
    ]
    rows = [
        (bound(n, meter) + (", now" if n == quantity else ""), money(curve[n].amount, currency))
        for n in sorted({*marks, quantity, end})
    ]
    heads = ["Quantity", f"Amount, {currency}"]
    svg = plot.frame(title, Markup().join(parts))
    return Drawing(title, svg, [Key(meter.name, meter.colour)], heads, rows)


def _bounds(charge: Charge) -> list[int]:
    """Return the quantities at which the price changes, in ascending order."""
    bounds = [charge.included + tier.up_to for tier in charge.tiers if tier.up_to is not None]
    return [charge.included, *bounds] if charge.included else bounds


def _end(quantity: int, bounds: Sequence[int], cost: Callable[..., Rated], factor: int) -> int:
    """Return the last quantity to draw: a round one in display units, where something costs."""
    ends = [int(at * BEYOND) + 1 for at in [quantity, *bounds] if at >= quantity]
    ends = ends[1:] or ends
    end = next((one for one in ends if cost(quantity=one).exact_amount), ends[-1])
    step = _round_step(Fraction(end, 20 * factor)) * factor
    return max(int(-(-end // step) * step), 1)


def _samples(end: int, marks: Sequence[int]) -> list[int]:
    even = {end * part // SAMPLES for part in range(SAMPLES + 1)}
    return sorted(even | {*marks} | {mark + 1 for mark in marks if mark < end})


def _mark(plot: _Plot, x: int) -> Markup:
    kind = Markup('class="chart-mark"') if plot.paper is None else plot.paper.paints["zero"]
    return Markup('<line x1="{}" x2="{}" y1="{}" y2="{}" {}/>').format(
        plot.x(x), plot.x(x), TOP, BASE, kind
    )


def _quantity_labels(plot: _Plot, places: dict[int, int], meter: MeterView) -> list[Markup]:
    """Name the bounds and the end, from the right; what would touch its neighbour goes without."""
    mark = Markup('<text x="{}" y="{}" text-anchor="{}" {}>{}</text>')
    labels, free = [], WHOLE + NEAR
    for quantity, x in reversed(places.items()):
        if x + NEAR > free:
            continue
        free, anchor = x, "end" if x == WHOLE else "middle"
        text = _short(quantity, meter)
        labels.append(mark.format(plot.x(x), BASE + 18, anchor, plot.paint("text"), text))
    return labels


def _short(quantity: int, meter: MeterView) -> str:
    scaled = Fraction(quantity, meter.factor)
    is_short = (scaled * 100).denominator == 1
    return axis_text(scaled) if is_short else bound(quantity, meter)


def _dot(plot: _Plot, point: Point, title: str, text: str, colour: int) -> Markup:
    x, y = point
    aside, anchor = ("2", "start") if x < LEFT else ("-8", "end")
    return Markup(
        '<g class="chart-now"><title>{}</title><circle cx="{}" cy="{}" r="4.5" {}/>'
        '<text x="{}" y="{}" dx="{}" dy="-8" text-anchor="{}" {}>{}</text></g>'
    ).format(
        *(title, plot.x(x), _dotted(y), plot.paint(colour)),
        *(plot.x(x), _dotted(y), aside, anchor, plot.paint("text"), text),
    )
