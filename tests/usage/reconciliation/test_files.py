"""Totals come as CSV; what is wrong is told by the number of its line."""

from __future__ import annotations

from datetime import date
from io import BytesIO

import pytest

from billtrack.usage.files.lines import UnreadableFile
from billtrack.usage.reconciliation.comparing import MAX_TOTAL, InvalidTotals, SentTotal
from billtrack.usage.reconciliation.files import read_totals
from tests.cast import Cast


def read(text: str) -> list[SentTotal]:
    return read_totals(BytesIO(text.encode()))


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_it_reads_totals_with_users_or_without(cast: Cast) -> None:
    totals = read("\ufeffDay;Quantity;event\n2026-10-01;0;api_calls\n\n2026-10-02;12;'+x\n")
    assert totals == [
        SentTotal(date(2026, 10, 1), "api_calls", None, 0, ""),
        SentTotal(date(2026, 10, 2), "+x", None, 12, ""),
    ]
    assert [total.place for total in totals] == ["Line 2", "Line 4"]
    email = cast.customer.user.email.upper()
    for header, cell in (("user_id", cast.customer.id), ("user", email)):
        (total,) = read(f"{header},day,event,quantity\n{cell},2026-10-01,cpu_time,{MAX_TOTAL}\n")
        assert (total.user_id, total.quantity) == (cast.customer.id, MAX_TOTAL)
    with pytest.raises(InvalidTotals, match="There is no account for x@y"):
        read("day,event,quantity,user\n2026-10-01,api_calls,1,x@y\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "day,event\n",
        "day,event,quantity,price\n",
        "day,event,quantity,day\n",
        "day,event,quantity,user,user_id\n",
        "\x00",
    ],
)
def test_it_refuses_what_is_no_file_of_totals(text: str) -> None:
    with pytest.raises(UnreadableFile):
        read(text)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("2026-02-30,api_calls,1,5", "Line 3, day: Write a day"),
        ("01.10.2026,api_calls,1,5", "Line 3, day: Write a day"),
        ("1026-10-01,api_calls,1,5", "Line 3, day: Write a day"),
        ("2026-10-01,,1,5", "Line 3, event: This cell is empty"),
        ("2026-10-01,api_calls,-1,5", "Line 3, quantity: Write a whole number"),
        ("2026-10-01,api_calls,1.5,5", "Line 3, quantity: Write a whole number"),
        ("2026-10-01,api_calls,\u0661,5", "Line 3, quantity: Write a whole number"),
        (f"2026-10-01,api_calls,{MAX_TOTAL + 1},5", "Line 3, quantity: Write a whole number"),
        ("2026-10-01,api_calls,1,0", "Line 3, user_id: Write the number of a user"),
        ("2026-10-01,api_calls,1", "Line 3: There are 3 cells, but 4 columns"),
        ('2026-10-01,"api_calls,1,5', "Line 3: A quotation mark is not closed"),
    ],
)
def test_it_tells_what_is_wrong_with_a_line(line: str, told: str) -> None:
    with pytest.raises(InvalidTotals, match=told):
        read(f"day,event,quantity,user_id\n2026-10-01,api_calls,1,5\n{line}\n")


def test_it_reads_ten_thousand_lines_and_no_more() -> None:
    lines = "2026-10-01,api_calls,1\n" * 10_000
    assert len(read("day,event,quantity\n" + lines)) == 10_000
    with pytest.raises(InvalidTotals, match="at most 10,000"):
        read("day,event,quantity\n" + lines + "2026-10-01,api_calls,1\n")
