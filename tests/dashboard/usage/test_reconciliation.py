"""The page that compares: a file or typed lines, differences first, and as a file."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from werkzeug.test import TestResponse

from tests.cast import Cast, create_record
from tests.dashboard.page import Page, Visitor

PATH = "/usage/reconciliation"
NOW = datetime.now(UTC)
DAY = NOW.date()
CAPTION = "Totals in base units"


def post(visitor: Visitor, *, file: str | None = None, **typed: Any) -> TestResponse:
    data = visitor.open(PATH).values(PATH) | typed
    if file is not None:
        data["file"] = (io.BytesIO(file.encode()), "totals.csv")
    return visitor.client.post(PATH, data=data, content_type="multipart/form-data")


def compared(visitor: Visitor, **options: Any) -> Page:
    return Page(post(visitor, **options), PATH)


def totals(*lines: str) -> str:
    return "\n".join(["day,event,quantity", *lines])


def test_it_shows_the_differences_and_gives_them_as_a_file(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=5000, occurred_at=NOW)
    create_record(cast, quantity=6, occurred_at=NOW, event="cpu_time")
    visitor = Visitor(app, cast.provider)
    text = totals(f"{DAY},vm_uptime,7", f"{DAY},api_calls,5000")
    shown = compared(visitor, file=text)
    rows = [row[1:] for row in shown.table(CAPTION)]
    assert rows == [
        ["CPU time", "Not in your file", "+6", "–", "6"],
        ["VM uptime", "Missing", "\N{MINUS SIGN}7", "7", "0"],
        ["API calls", "Match", "0", "5,000", "5,000"],
    ]
    assert shown.figure("Match") == "1"
    # The page keeps the file, so that it need not be chosen again.
    answer = visitor.client.post(PATH, data=shown.values(PATH) | {"download": "1"})
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert list(csv.reader(io.StringIO(answer.get_data().decode("utf-8-sig"))))[1:] == [
        [str(DAY), "cpu_time", "", "", "6", "6", "Not in your file"],
        [str(DAY), "vm_uptime", "", "7", "0", "-7", "Missing"],
    ]


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_manager_chooses_the_source_and_a_provider_cannot(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=5, occurred_at=NOW)
    text = totals(f"{DAY},api_calls,5")
    chosen = {"account_id": str(cast.provider.id), "totals": text}
    manager = Visitor(app, cast.manager)
    assert "Everything is equal" in compared(manager, **chosen).text
    assert compared(manager, totals=text).table(CAPTION)[0][2] == "Missing"
    offered = manager.open(PATH).source
    assert "Other provider" in offered
    assert "Other customer" not in offered
    refused = compared(Visitor(app, cast.other_provider), **chosen)
    assert (refused.status, refused.all("table")) == (422, [])
    assert "Choose one of the list." in refused.text
    assert "Other provider" not in Visitor(app, cast.provider).open(PATH).text


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_names_are_shown_of_those_alone_for_whom_it_recorded(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=5, occurred_at=NOW)
    ids = (cast.customer.id, cast.admin.id)
    text = "\n".join(["user_id,day,event,quantity", *(f"{id_},{DAY},api_calls,5" for id_ in ids)])
    rows = compared(Visitor(app, cast.provider), totals=text).table(CAPTION)
    assert {row[2] for row in rows} == {"Customer", str(cast.admin.id)}


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_what_is_wrong_stands_beside_the_field_and_what_was_typed_stays(
    app: APIFlask, cast: Cast
) -> None:
    visitor = Visitor(app, cast.provider)
    text = totals(f"{DAY},api_calls,many")
    for typed, field in (
        ({"totals": ""}, "totals"),
        ({"totals": text}, "totals"),
        ({"file": text}, "totals"),
        ({"file": "x" * 400_001}, "totals"),
        ({"file": "\x00\ufffe"}, "totals"),
        ({"totals": text, "from": "2026-13-01"}, "from"),
        ({"totals": totals(), "from": str(DAY)}, "to"),
        ({"totals": "", "from": str(DAY), "to": str(DAY - timedelta(days=1))}, "to"),
    ):
        page = compared(visitor, **typed)
        assert page.status == 422
        assert page.all("p", id=f"{field}-error"), typed
        if typed.get("totals") or typed.get("file") == text:
            assert page.values(PATH)["totals"].split() == (typed.get("totals") or text).split()
    assert "Line 2, quantity" in compared(visitor, totals=text).text


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_it_says_so_when_there_is_nothing(app: APIFlask, cast: Cast) -> None:
    days = {"from": str(DAY), "to": str(DAY)}
    page = compared(Visitor(app, cast.provider), **days)
    assert "Nothing was sent, and nothing is stored" in page.text
