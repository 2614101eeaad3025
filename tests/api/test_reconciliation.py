"""POST /api/v1/usage/reconciliation: who may compare what, and how the answer looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billtrack.platform.extensions import db
from billtrack.usage.records.models import UsageRecord
from tests.cast import Cast, Member, create_record

PATH = "/api/v1/usage/reconciliation"
NOW = datetime.now(UTC)
DAY = str(NOW.date())


def total(quantity: int, **more: Any) -> dict[str, Any]:
    return {"day": DAY, "event": "api_calls", "quantity": quantity, **more}


def test_it_answers_with_what_differs_first(cast: Cast) -> None:
    create_record(cast, quantity=5, occurred_at=NOW)
    create_record(cast, quantity=6, occurred_at=NOW, event="cpu_time")
    body = {"totals": [total(5), total(7, event="vm_uptime")]}
    answer = cast.provider.post(PATH, body)
    line = {"day": DAY, "user_id": None}
    assert (answer.status_code, answer.get_json()) == (
        200,
        {
            "account_id": cast.provider.id,
            "period": {"from": DAY, "to": DAY, "timezone": "UTC"},
            "equal": 1,
            "missing_here": 1,
            "more_here": 0,
            "only_here": 1,
            "lines": [
                line
                | {"event": "cpu_time", "sent": None, "stored": 6, "difference": 6}
                | {"state": "only_here"},
                line
                | {"event": "vm_uptime", "sent": 7, "stored": 0, "difference": -7}
                | {"state": "missing_here"},
                line
                | {"event": "api_calls", "sent": 5, "stored": 5, "difference": 0}
                | {"state": "equal"},
            ],
        },
    )
    short = cast.provider.post(f"{PATH}?lines=differences", body).get_json()
    assert (short["equal"], len(short["lines"])) == (1, 2)
    db.session.rollback()
    assert db.session.query(UsageRecord).count() == 2


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_providers_compare_their_own_records_and_managers_those_of_any_source(cast: Cast) -> None:
    create_record(cast, quantity=5, occurred_at=NOW)
    create_record(cast, quantity=9, occurred_at=NOW, recorded_by=cast.other_provider)

    def stored(member: Member, **body: Any) -> Any:
        answer = member.post(PATH, {"totals": [total(5)], **body}).get_json()
        return answer["lines"][0]["stored"] if "lines" in answer else answer["code"]

    foreign, unknown = cast.other_provider.id, 99_999
    assert stored(cast.provider) == stored(cast.provider, account_id=cast.provider.id) == 5
    assert stored(cast.provider, account_id=foreign) == "source_not_found"
    assert stored(cast.provider, account_id=unknown) == "source_not_found"
    for member in (cast.manager, cast.admin):
        assert stored(member, account_id=cast.provider.id) == 5
        assert stored(member, account_id=foreign) == 9
        assert stored(member) == 0
        assert stored(member, account_id=unknown) == "source_not_found"
    for member in (cast.customer, cast.stranger):
        assert stored(member) == "forbidden"


WRONG: tuple[tuple[Any, str], ...] = (
    ({}, "totals"),
    ({"totals": []}, ""),
    ({"totals": [total(-1)]}, "totals.0.quantity"),
    ({"totals": [total(1) | {"quantity": 1.0}]}, "totals.0.quantity"),
    ({"totals": [total(10**24 + 1)]}, "totals.0.quantity"),
    ({"totals": [total(1) | {"day": "2026-02-30"}]}, "totals.0.day"),
    ({"totals": [total(1), total(2)]}, "totals.1"),
    ({"totals": [total(1), total(1, event="nothing")]}, "totals.1.event"),
    ({"totals": [total(1), total(1, user_id=1)]}, "totals.0.user_id"),
    ({"totals": [total(1)], "from": DAY}, "to"),
    ({"totals": [total(1)], "from": "2026-01-01", "to": "2026-01-02"}, "totals.0.day"),
    ({"totals": [], "from": "2026-01-01", "to": "2026-04-03"}, ""),
    ({"totals": [], "from": "2026-01-02", "to": "2026-01-01"}, "to"),
    ({"totals": [total(1)], "source": 1}, "source"),
    ({"totals": [total(1)] * 10_001}, "totals"),
)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_it_names_the_field_that_is_wrong(cast: Cast) -> None:
    for body, field in WRONG:
        answer = cast.provider.post(PATH, body)
        assert answer.status_code == 422
        errors = answer.get_json().get("errors") or [{"field": ""}]
        assert errors[0]["field"] == field


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_quarter_of_nothing_is_equal_to_nothing(cast: Cast) -> None:
    last = NOW.date() - timedelta(days=1)
    days = {"from": str(last - timedelta(days=91)), "to": str(last)}
    answer = cast.provider.post(PATH, {"totals": [], **days}).get_json()
    assert (answer["equal"], answer["lines"]) == (0, [])
