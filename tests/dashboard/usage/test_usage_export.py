"""Usage as files: what the list shows, whole, for those who may see it."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import openpyxl
import pytest
from apiflask import APIFlask

from billtrack.dashboard.usage import export
from billtrack.platform.extensions import current_calendar
from tests.cast import Cast, create_record
from tests.dashboard.page import Page, Visitor


def days_ago(days: int) -> date:
    return current_calendar().today(datetime.now(UTC)) - timedelta(days=days)


def csv_rows(page: Page) -> list[dict[str, str]]:
    assert page.status == 200
    assert page.answer.mimetype == "text/csv"
    text = page.answer.get_data().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def xlsx_rows(page: Page) -> list[dict[str, Any]]:
    assert page.status == 200
    book = openpyxl.load_workbook(io.BytesIO(page.answer.get_data()))
    head, *rows = book["Usage"].iter_rows(values_only=True)
    assert not any(cell.data_type == "f" for row in book["Usage"].iter_rows() for cell in row)
    return [dict(zip(map(str, head), row, strict=True)) for row in rows]


def create_some(cast: Cast) -> None:
    for number, (event, user, days) in enumerate(
        [
            ("api_calls", cast.customer, 0),
            ("api_calls", cast.other_customer, 1),
            ("data_storage", cast.customer, 1),
            ("api_calls", cast.customer, 2),
        ]
    ):
        at = current_calendar().starts_at(days_ago(days))
        create_record(cast, quantity=number + 1, event=event, user=user, occurred_at=at)


def test_it_exports_exactly_what_is_listed(app: APIFlask, cast: Cast) -> None:
    create_some(cast)
    visitor = Visitor(app, cast.manager)
    for query in (
        "",
        f"user_id={cast.other_customer.id}",
        "event=data_storage",
        f"from={days_ago(1)}",
        f"to={days_ago(1)}",
        f"user_id={cast.customer.id}&event=api_calls&from={days_ago(2)}&to={days_ago(1)}",
        f"from={days_ago(-1)}",
    ):
        listed = visitor.open(f"/usage?{query}")
        shown = [row[3].partition(" ")[0] for row in listed.table("Usage records, newest first")] \
            if "No records match" not in listed.text else []  # fmt: skip
        rows = csv_rows(visitor.request("GET", f"/usage/export.csv?{query}"))
        assert [row["Quantity"] for row in rows] == shown, query
        sheet = xlsx_rows(visitor.request("GET", f"/usage/export.xlsx?{query}"))
        assert [str(row["Quantity"]) for row in sheet] == shown, query


def test_a_row_says_who_used_what_when(app: APIFlask, cast: Cast) -> None:
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    record = create_record(cast, quantity=70, occurred_at=at)
    cast.provider.post(f"/api/v1/usage/{record.id}/reverse", {"reason": "=twice"})
    visitor = Visitor(app, cast.manager)
    reversal, row = csv_rows(visitor.request("GET", "/usage/export.csv"))
    assert row == {
        "Record": str(record.id),
        "Time": at.isoformat(),
        "Customer id": str(cast.customer.id),
        "Customer": "Customer",
        "Event": "api_calls",
        "Quantity": "70",
        "Unit": row["Unit"],
        "Source": "Provider",
        "Reverses": "",
        "Reversed by": reversal["Record"],
        "Reason": "",
    }
    assert (reversal["Quantity"], reversal["Reverses"]) == ("-70", str(record.id))
    assert reversal["Reason"] == "'=twice"
    in_sheet, other = xlsx_rows(visitor.request("GET", "/usage/export.xlsx"))
    assert (in_sheet["Quantity"], in_sheet["Reason"]) == (-70, "=twice")
    assert other["Time, UTC"] == at.replace(tzinfo=None)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)"])
def test_no_name_becomes_a_formula(app: APIFlask, cast: Cast, name: str) -> None:
    cast.admin.patch(f"/api/v1/users/{cast.customer.id}", {"name": name})
    create_record(cast)
    visitor = Visitor(app, cast.manager)
    (row,) = csv_rows(visitor.request("GET", "/usage/export.csv"))
    assert row["Customer"] == f"'{name}"
    (cells,) = xlsx_rows(visitor.request("GET", "/usage/export.xlsx"))
    assert cells["Customer"] == name


def test_it_exports_more_than_one_batch(
    app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billtrack.usage.records.queries.BATCH", 7)
    for number in range(1, 31):
        create_record(cast, quantity=number)
    visitor = Visitor(app, cast.manager)
    expected = [str(number) for number in range(30, 0, -1)]
    rows = csv_rows(visitor.request("GET", "/usage/export.csv"))
    assert [row["Quantity"] for row in rows] == expected
    sheet = xlsx_rows(visitor.request("GET", "/usage/export.xlsx"))
    assert [str(row["Quantity"]) for row in sheet] == expected


def test_each_role_exports_what_it_may_see(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=5)
    create_record(cast, quantity=6, user=cast.other_customer, recorded_by=cast.other_provider)
    for member, expected in (
        (cast.admin, ["6", "5"]),
        (cast.manager, ["6", "5"]),
        (cast.provider, ["5"]),
        (cast.other_provider, ["6"]),
        (cast.customer, ["5"]),
        (cast.other_customer, ["6"]),
        (cast.stranger, []),
    ):
        visitor = Visitor(app, member)
        rows = csv_rows(visitor.request("GET", "/usage/export.csv"))
        assert [row["Quantity"] for row in rows] == expected, member.user.name
        sheet = xlsx_rows(visitor.request("GET", "/usage/export.xlsx"))
        assert [str(row["Quantity"]) for row in sheet] == expected, member.user.name


def test_a_wrong_filter_exports_nothing(app: APIFlask, cast: Cast) -> None:
    create_record(cast)
    for member in (cast.manager, cast.stranger):
        visitor = Visitor(app, member)
        for query in (
            "user_id=999999",
            f"user_id={cast.provider.id}",
            "event=unheard_of",
            "from=x",
            "to=%00",
            "from=2026-11-02&to=2026-11-01",
        ):
            answer = visitor.request("GET", f"/usage/export.csv?{query}")
            assert answer.status == 303, query
            assert (answer.location or "").startswith("/usage?")
    answer = Visitor(app, cast.stranger).request(
        "GET", f"/usage/export.csv?user_id={cast.customer.id}"
    )
    assert answer.status == 303


def test_a_visitor_is_asked_to_sign_in(app: APIFlask, cast: Cast) -> None:
    create_record(cast)
    answer = Visitor(app).request("GET", "/usage/export.csv")
    assert (answer.status, (answer.location or "").partition("?")[0]) == (303, "/sign-in")
    assert Visitor(app, cast.manager).request("GET", "/usage/export.pdf").status == 404


def test_the_name_of_the_file_says_the_filter(app: APIFlask, cast: Cast) -> None:
    create_some(cast)
    visitor = Visitor(app, cast.manager)
    for query, name in (
        ("", "usage-all.csv"),
        ("event=api_calls", "usage-api_calls.csv"),
        (
            f"user_id={cast.customer.id}&from=2026-11-01&to=2026-11-22",
            f"usage-customer-{cast.customer.id}-2026-11-01-to-2026-11-22.csv",
        ),
    ):
        found = visitor.request("GET", f"/usage/export.csv?{query}").answer.headers
        assert found["Content-Disposition"] == f'attachment; filename="{name}"'


def test_a_workbook_that_would_be_too_long_is_refused(
    app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_XLSX_ROWS", 2)
    create_record(cast)
    create_record(cast)
    visitor = Visitor(app, cast.manager)
    assert len(xlsx_rows(visitor.request("GET", "/usage/export.xlsx"))) == 2
    create_record(cast)
    page = visitor.follow(visitor.request("GET", "/usage/export.xlsx?event=api_calls"))
    assert page.path == "/usage?event=api_calls"
    assert page.alerts[0].endswith("records match. Narrow the filter, or take CSV.")
    assert len(csv_rows(visitor.request("GET", "/usage/export.csv"))) == 3
