"""Lines show what their figures say: actual, then expected; on a page and on paper."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import billtrack
from billtrack.presentation import charts
from billtrack.presentation.charts import Paper, Series
from billtrack.presentation.drawings import WHOLE, Drawing
from billtrack.presentation.lines import SPARK_EDGE, SPARK_HEIGHT, Forecast, line_chart, sparkline

TOKENS = Path(billtrack.__file__).parent / "static" / "css" / "tokens.css"
SVG = "{http://www.w3.org/2000/svg}"


def create_chart(
    *actual: int,
    ahead: list[int] | None = None,
    band: list[tuple[int, int]] | None = None,
    paper: Paper | None = None,
) -> Drawing:
    days = [date(2026, 11, 1) + timedelta(days=n) for n in range(len(actual) + len(ahead or []))]
    forecast = Forecast(ahead, band or []) if ahead else None
    return line_chart(
        days,
        Series("Revenue <&>", 1, actual),
        forecast,
        title="Revenue & more",
        tell=str,
        factor=100,
        paper=paper,
    )


def points(svg: str, kind: str) -> list[tuple[float, float]]:
    (path,) = (p for p in ET.fromstring(svg).iter(f"{SVG}path") if kind in p.get("class", ""))
    steps = path.get("d", "").removeprefix("M").split("L")
    return [(float(step.split()[0]), float(step.split()[1])) for step in steps]


def labels(svg: str) -> dict[str, float]:
    """Return where each figure of the upright axis stands."""
    texts = (t for t in ET.fromstring(svg).iter(f"{SVG}text") if t.get("text-anchor") == "end")
    return {t.text or "": float(t.get("y", "")) for t in texts}


def test_it_draws_values_where_the_axis_says() -> None:
    svg = create_chart(0, 40_000, 80_000).svg
    drawn, axis = points(svg, "chart-stroke-1"), labels(svg)
    assert [y for _, y in drawn] == [axis["0"], axis["400"], axis["800"]]
    assert [x for x, _ in drawn] == [WHOLE // 6, WHOLE // 2, WHOLE * 5 // 6]


def test_it_stands_above_the_bars_of_the_same_day() -> None:
    days = [date(2026, 11, 1) + timedelta(days=n) for n in range(5)]
    bars = charts.daily_chart(days, [Series("a", 1, [5] * 5)], title="t", tell=str, factor=1)
    rects = [r for r in ET.fromstring(bars.svg).iter(f"{SVG}rect") if r.get("class") == "chart-1"]
    middles = [
        float(r.get("x", "").rstrip("%")) + float(r.get("width", "").rstrip("%")) / 2 for r in rects
    ]
    drawn = [x / 100 for x, _ in points(create_chart(*[5] * 5).svg, "chart-stroke-1")]
    assert drawn == pytest.approx(middles, abs=0.02)


def test_it_goes_on_with_what_is_expected_from_where_it_is() -> None:
    svg = create_chart(100, 200, ahead=[300, 350], band=[(250, 320), (200, 500)]).svg
    actual, expected = points(svg, "chart-stroke-1"), points(svg, "chart-stroke-forecast")
    assert (len(actual), len(expected)) == (2, 3)
    assert expected[0] == actual[-1]
    outline = points(svg, "chart-band")
    lows, highs = outline[:3], outline[3:]
    assert [x for x, _ in lows] == [x for x, _ in reversed(highs)]
    assert lows[0] == highs[-1] == actual[-1]
    for (_, low), (_, y), (_, high) in zip(lows, expected, reversed(highs), strict=True):
        assert low >= y >= high


def test_it_draws_no_forecast_where_there_is_none() -> None:
    chart = create_chart(100, 200)
    assert "chart-stroke-forecast" not in chart.svg
    assert "chart-band" not in chart.svg
    assert [key.label for key in chart.legend] == ["Revenue <&>"]
    assert chart.heads == ["Day", "Revenue <&>"]


def test_it_draws_a_month_of_which_nothing_is_known_yet() -> None:
    chart = create_chart(ahead=[100, 200])
    assert len(points(chart.svg, "chart-stroke-forecast")) == 2
    assert "chart-stroke-1" not in chart.svg


def test_it_tells_the_same_figures_as_rows() -> None:
    chart = create_chart(100, ahead=[300], band=[(250, 320)])
    assert chart.heads == ["Day", "Revenue <&>", "Forecast", "Range"]
    assert [list(row) for row in chart.rows] == [
        ["1 Nov 2026", "100", "–", "–"],
        ["2 Nov 2026", "–", "300", "250 to 320"],
    ]
    without = create_chart(100, ahead=[300])
    assert [list(row) for row in without.rows] == [
        ["1 Nov 2026", "100", "–"],
        ["2 Nov 2026", "–", "300"],
    ]


def test_it_names_itself_and_each_day_for_those_who_do_not_see_it() -> None:
    root = ET.fromstring(create_chart(100, ahead=[300], band=[(250, 320)]).svg)
    assert [e.text for e in root.iter(f"{SVG}title")] == [
        "Revenue & more",
        "1 Nov 2026: Revenue <&> 100",
        "2 Nov 2026: Forecast 300, Range 250 to 320",
    ]
    (told,) = (e.text for e in root.iter(f"{SVG}desc"))
    assert told == (
        "Revenue <&>: 100 on 1 Nov 2026, expected: 300 on 2 Nov 2026, probably between 250 and 320."
    )
    assert [e.get("aria-hidden") for e in root.iter(f"{SVG}svg")] == [None, "true"]


def test_it_needs_a_value_for_each_day() -> None:
    days = [date(2026, 11, 1), date(2026, 11, 2)]
    for forecast in (None, Forecast([1, 2]), Forecast([1], [(0, 1), (0, 1)])):
        with pytest.raises(ValueError, match="argument"):
            line_chart(days, Series("a", 1, [1]), forecast, title="t", tell=str, factor=1)


@pytest.mark.parametrize("values", [[0], [0, 0], [1], [10**20, 1], [-5], [5, -5], list(range(366))])
def test_it_draws_any_values_inside_its_frame(values: list[int]) -> None:
    for _, y in points(create_chart(*values).svg, "chart-stroke-1"):
        assert charts.TOP <= y <= charts.BASE


def test_it_keeps_to_classes_on_a_page_for_the_content_security_policy() -> None:
    svg = create_chart(100, ahead=[300], band=[(250, 320)]).svg + sparkline([1, 2], title="t")
    assert "style=" not in svg
    assert "#" not in svg


def test_it_takes_the_colours_of_paper_from_the_tokens() -> None:
    paper = charts.read_paper(TOKENS, width=520)
    svg = create_chart(100, 200, ahead=[300], band=[(250, 320)], paper=paper).svg
    assert "class=" not in svg
    assert "%" not in svg
    colour = str(paper.paints["1"]).partition('"')[2].rstrip('"')
    assert f'stroke="{colour}"' in svg
    assert 'stroke-dasharray="3 3"' in svg
    ends = [p.get("d", "") for p in ET.fromstring(svg).iter(f"{SVG}path")]
    assert all(0 <= float(step.split()[0]) <= 520 for d in ends for step in d[1:].split("L"))


def test_a_small_line_runs_from_edge_to_edge_and_ends_in_a_dot() -> None:
    svg = sparkline([0, 10, 5], title="From 0 & to 5")
    low, high = float(SPARK_HEIGHT - SPARK_EDGE), float(SPARK_EDGE)
    assert points(svg, "chart-stroke-1") == [(0, low), (5000, high), (10000, (low + high) / 2)]
    root = ET.fromstring(svg)
    (dot,) = root.iter(f"{SVG}circle")
    assert (dot.get("cx"), dot.get("cy")) == ("100%", "20")
    assert [e.text for e in root.iter(f"{SVG}title")] == ["From 0 & to 5"]
    assert root.get("role") == "img"


@pytest.mark.parametrize("values", [[0], [7], [0, 0], [-3, 4], [-1], [10**20, 3]])
def test_a_small_line_stays_inside_its_frame(values: list[int]) -> None:
    for _, y in points(sparkline(values, title="t"), "chart-stroke-1"):
        assert SPARK_EDGE <= y <= SPARK_HEIGHT - SPARK_EDGE
