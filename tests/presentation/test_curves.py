"""A curve shows what a charge asks for every quantity, where its price changes, and the present."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import billtrack
from billtrack.billing.plans.standard import standard_charges
from billtrack.billing.pricing.charges import Charge, parse_charge
from billtrack.presentation import charts
from billtrack.presentation.charts import Paper
from billtrack.presentation.curves import tier_curve
from billtrack.presentation.drawings import WHOLE, Drawing
from billtrack.presentation.filters import MeterView

TOKENS = Path(billtrack.__file__).parent / "static" / "css" / "tokens.css"
SVG = "{http://www.w3.org/2000/svg}"
CALLS = MeterView("api_calls", "API calls", "call", "calls", 1, 1)
HOURS = MeterView("vm_uptime", "VM uptime", "second", "h", 3600, 2)
VOLUME = {
    "model": "volume",
    "tiers": [{"up_to": 100, "unit_price": "1"}, {"up_to": None, "unit_price": "0.5"}],
}


def charge(**data: Any) -> Charge:
    return parse_charge({"meter": "api_calls", **data})


def draw(
    given: Charge, quantity: int, meter: MeterView = CALLS, paper: Paper | None = None
) -> Drawing:
    return tier_curve(
        given, quantity, currency="USD", meter=meter, title="Price & more", paper=paper
    )


def curve(drawing: Drawing) -> list[tuple[float, float]]:
    (path,) = ET.fromstring(drawing.svg).iter(f"{SVG}path")
    steps = path.get("d", "").removeprefix("M").split("L")
    return [(float(step.split()[0]), float(step.split()[1])) for step in steps]


def dot(drawing: Drawing) -> tuple[float, float]:
    (circle,) = ET.fromstring(drawing.svg).iter(f"{SVG}circle")
    return float(circle.get("cx", "").rstrip("%")), float(circle.get("cy", ""))


def marks(drawing: Drawing) -> list[float]:
    lines = ET.fromstring(drawing.svg).iter(f"{SVG}line")
    return [
        float(line.get("x1", "").rstrip("%")) for line in lines if line.get("class") == "chart-mark"
    ]


def test_it_puts_the_dot_on_the_curve_where_the_quantity_is() -> None:
    drawing = draw(standard_charges()[0], 500_000)
    x, y = dot(drawing)
    assert (x * 100, y) in curve(drawing)
    end = 1_250_000  # a quarter beyond the tier that it is in, rounded up
    assert x == pytest.approx(100 * 500_000 / end, abs=4)
    assert ("500,000, now", "$205.00") in [tuple(row) for row in drawing.rows]


def test_it_marks_where_the_price_changes() -> None:
    drawing = draw(standard_charges()[0], 500_000)
    end = 500_000 / dot(drawing)[0]
    assert [round(x * end) for x in marks(drawing)] == pytest.approx(
        [10_000, 100_000, 1_000_000], rel=0.02
    )
    heads = [row[0] for row in drawing.rows]
    assert heads[:4] == ["10,000", "100,000", "500,000, now", "1,000,000"]


def test_it_bends_at_the_bounds_of_a_graduated_charge() -> None:
    drawing = draw(standard_charges()[0], 50_000)
    points, end = curve(drawing), 50_000 * 100 / dot(drawing)[0]
    free = [y for x, y in points if x / WHOLE * end <= 9_900]
    assert set(free) == {charts.BASE}
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)


def test_it_falls_at_the_bounds_of_a_volume_charge() -> None:
    drawing = draw(charge(**VOLUME), 90)
    rising = [y for _, y in curve(drawing)]
    assert any(after > before + 20 for before, after in pairwise(rising))


def test_it_shows_beyond_what_is_free() -> None:
    drawing = draw(standard_charges()[0], 0)
    assert dot(drawing) == (0, charts.BASE)
    assert min(y for _, y in curve(drawing)) < charts.BASE - 50


def test_it_counts_what_is_included_before_the_tiers() -> None:
    tiers = [{"up_to": 100, "unit_price": "1"}, {"up_to": None, "unit_price": "2"}]
    drawing = draw(charge(model="graduated", included=50, tiers=tiers), 120)
    assert [row[0] for row in drawing.rows][:3] == ["50", "120, now", "150"]
    assert [row[1] for row in drawing.rows][:3] == ["$0.00", "$70.00", "$100.00"]


@pytest.mark.parametrize("quantity", [0, 1, 99, 100, 101, 10**18])
@pytest.mark.parametrize(
    "data",
    [
        VOLUME,
        {"model": "per_unit", "unit_price": "0.01"},
        {"model": "per_unit", "unit_price": "0"},
        {"model": "package", "per": 1000, "unit_price": "5"},
        {"model": "per_unit", "unit_price": "1", "minimum": "50", "maximum": "70"},
        {"model": "graduated", "tiers": [{"up_to": None, "unit_price": "0", "flat_fee": "9"}]},
    ],
)
def test_it_draws_any_charge_inside_its_frame(data: dict[str, Any], quantity: int) -> None:
    drawing = draw(charge(**data), quantity)
    points = [*curve(drawing), (100 * dot(drawing)[0], dot(drawing)[1])]
    assert all(0 <= x <= WHOLE for x, _ in points)
    assert all(charts.TOP <= y <= charts.BASE for _, y in points)


def test_it_writes_quantities_in_the_display_unit() -> None:
    drawing = draw(standard_charges()[1], 7_884_000, HOURS)
    named = [t.text for t in ET.fromstring(drawing.svg).iter(f"{SVG}text")]
    assert "730" in named
    assert [row[0] for row in drawing.rows][:2] == ["730\N{NO-BREAK SPACE}h",
                                                    "2,190\N{NO-BREAK SPACE}h, now"]  # fmt: skip


def test_it_names_no_two_quantities_that_would_touch() -> None:
    root = ET.fromstring(draw(standard_charges()[0], 5_000_000).svg)
    at = [
        float(t.get("x", "").rstrip("%"))
        for t in root.iter(f"{SVG}text")
        if t.get("y") == str(charts.BASE + 18)
    ]
    assert all(abs(a - b) >= 10 for n, a in enumerate(at) for b in at[n + 1 :])


def test_it_tells_those_who_do_not_see_it() -> None:
    root = ET.fromstring(draw(standard_charges()[0], 500_000).svg)
    (told,) = (e.text for e in root.iter(f"{SVG}desc"))
    assert told == (
        "API calls: 500,000 cost $205.00. The price changes at 10,000, 100,000, 1,000,000."
    )
    assert [e.text for e in root.iter(f"{SVG}title")] == [
        "Price & more",
        "API calls: 500,000 cost $205.00",
    ]


def test_it_draws_on_paper_without_classes() -> None:
    paper = charts.read_paper(TOKENS, width=520)
    svg = draw(standard_charges()[0], 500_000, paper=paper).svg.replace(' class="chart-now"', "")
    assert "class=" not in svg
    assert "%" not in svg
