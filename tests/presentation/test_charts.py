"""The daily chart shows what its figures say, on a page and on paper."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import billtrack
from billtrack.presentation import charts
from billtrack.presentation.charts import Chart, Paper, Series

TOKENS = Path(billtrack.__file__).parent / "static" / "css" / "tokens.css"
SVG = "{http://www.w3.org/2000/svg}"


def create_chart(*values: list[int], paper: Paper | None = None) -> Chart:
    days = [date(2026, 11, 1) + timedelta(days=n) for n in range(len(values[0]))]
    series = [Series(f"Event <{n}>", n, one) for n, one in enumerate(values, start=1)]
    return charts.daily_chart(
        days, series, title="Cost by day & more", tell=str, factor=100, paper=paper
    )


def bars(chart: Chart, kind: str) -> list[ET.Element]:
    root = ET.fromstring(chart.svg)
    return [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == f"chart-{kind}"]


def test_it_stacks_events_so_that_heights_are_in_proportion() -> None:
    chart = create_chart([300, 100], [0, 400])
    tall, short = (float(rect.get("height", "")) for rect in bars(chart, "1"))
    assert (tall + 1) / (short + 1) == pytest.approx(3, rel=0.01)
    (upper,) = bars(chart, "2")
    assert float(upper.get("y", "")) < float(bars(chart, "1")[1].get("y", ""))


def test_it_hangs_negative_days_under_the_zero_line() -> None:
    chart = create_chart([500, -300])
    root = ET.fromstring(chart.svg)
    (zero,) = (line for line in root.iter(f"{SVG}line") if line.get("class") == "chart-zero")
    up, down = bars(chart, "1")
    assert float(up.get("y", "")) < float(zero.get("y1", ""))
    assert float(down.get("y", "")) == float(zero.get("y1", ""))


def test_it_keeps_what_is_negative_apart_from_what_is_stacked_on_the_same_day() -> None:
    chart = create_chart([500], [-300])
    zero = float(bars(chart, "1")[0].get("y", "")) + float(bars(chart, "1")[0].get("height", ""))
    (down,) = bars(chart, "2")
    assert float(down.get("y", "")) == pytest.approx(zero, abs=1)


def test_it_tells_the_same_figures_as_rows_with_their_sum() -> None:
    chart = create_chart([300, 100], [0, 400])
    assert [texts for _, texts in chart.rows] == [["300", "0", "300"], ["100", "400", "500"]]


def test_it_names_itself_and_each_day_for_those_who_do_not_see_it() -> None:
    titles = [e.text for e in ET.fromstring(create_chart([3]).svg).iter(f"{SVG}title")]
    assert titles == ["Cost by day & more", "1 Nov 2026: Event <1> 3"]


@pytest.mark.parametrize("values", [[0, 0], [1], [10**20, 1], [-5], [7] * 366])
def test_it_draws_any_days_inside_its_frame(values: list[int]) -> None:
    for rect in bars(create_chart(values), "1"):
        top, height = float(rect.get("y", "")), float(rect.get("height", ""))
        assert top >= charts.TOP
        assert top + height <= charts.BASE + 0.01


def test_it_names_few_days_of_many() -> None:
    root = ET.fromstring(create_chart([7] * 366).svg)
    named = [e for e in root.iter(f"{SVG}text") if float(e.get("y", "")) > charts.BASE]
    assert 5 <= len(named) <= charts.LABELS


@pytest.mark.parametrize("days", [1, 2, 7, 8, 28, 29, 30, 31, 37, 59, 62, 92, 365, 366, 3660])
@pytest.mark.parametrize("first", [date(2026, 10, 1), date(2026, 11, 24)])
def test_it_keeps_the_names_of_days_on_the_paper_and_apart(days: int, first: date) -> None:
    width, letter = 480, 5.2  # of 9 points, on average
    paper = charts.read_paper(TOKENS, width=width)
    dates = [first + timedelta(days=n) for n in range(days)]
    series = [Series("Calls", 1, list(range(days)))]
    chart = charts.daily_chart(dates, series, title="x", tell=str, factor=1, paper=paper)
    ends = [-float(charts.GUTTER)]
    for label in ET.fromstring(chart.svg).iter(f"{SVG}text"):
        if float(label.get("y", "")) <= charts.BASE:
            continue  # of the other axis
        size = len(label.text or "") * letter
        share = {"middle": 0.5, "end": 1.0}[label.get("text-anchor", "")]
        start = float(label.get("x", "")) - share * size
        assert start > ends[-1]
        ends.append(start + size)
    assert ends[-1] <= width + 0.01
    assert len(ends) > 1


def test_it_keeps_to_classes_on_a_page_for_the_content_security_policy() -> None:
    assert "style=" not in create_chart([3]).svg
    assert "#" not in create_chart([3]).svg


def test_it_takes_the_colours_of_paper_from_the_tokens() -> None:
    paper = charts.read_paper(TOKENS, width=520)
    svg = create_chart([300, 100], [0, 400], paper=paper).svg
    tokens = TOKENS.read_text(encoding="utf-8").partition("@media")[0]
    event_1 = re.search(r"--event-1: (#\w+);", tokens)
    assert event_1 is not None
    assert f'fill="{event_1[1]}"' in svg
    assert 'class="chart-1"' not in svg
    assert "%" not in svg
