"""GET /sources: who sends usage, what became of it, and who may know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask

from billtrack.usage.sources.writing import write_noted
from tests.cast import Cast, Member

NOTHING = {"accepted": 0, "late": 0, "duplicate": 0, "conflict": 0, "rejected": 0, "reversed": 0}


def test_it_tells_what_became_of_what_was_sent(cast: Cast) -> None:
    record = {"quantity": 1, "event": "api_calls", "user_id": cast.customer.id}
    keyed = {**record, "idempotency_key": "k"}
    began = datetime.now(UTC)
    # One record that is plain and one that is not: they go different ways.
    assert cast.provider.post("/api/v1/usage/", keyed).status_code == 201
    assert cast.provider.post("/api/v1/usage/", {**record, "event": "x"}).status_code == 422
    header = {"Idempotency-Key": "k"}
    assert cast.provider.post("/api/v1/usage/", record, headers=header).status_code == 200
    batch = {"records": [record, keyed, {**keyed, "quantity": 2}, {**record, "user_id": 10**17}]}
    assert cast.provider.post("/api/v1/usage/batch", batch).status_code == 200
    write_noted()
    source = cast.manager.get(f"/api/v1/sources/{cast.provider.id}").get_json()
    assert source["last_24_hours"] == {
        **NOTHING,
        "accepted": 2,
        "duplicate": 2,
        "conflict": 1,
        "rejected": 2,
    }
    assert (source["name"], source["active"], source["silent_since"]) == ("Provider", True, None)
    assert began <= datetime.fromisoformat(source["last_seen_at"]) <= datetime.now(UTC)
    hours = cast.manager.get(f"/api/v1/sources/{cast.provider.id}/hours").get_json()["data"]
    assert sum(one["accepted"] for one in hours) == 2


def test_it_gives_the_hours_of_the_days_asked_for(app: APIFlask, cast: Cast) -> None:
    send(cast.provider, cast)
    write_noted()
    path = f"/api/v1/sources/{cast.provider.id}/hours"
    today = datetime.now(UTC).date()
    assert hours(cast.manager, f"{path}?from={today}&to={today}") != []
    before = today - timedelta(days=1)
    assert hours(cast.manager, f"{path}?from={before}&to={before}") == []
    answer = cast.manager.get(f"{path}?from={today - timedelta(days=31)}&to={today}")
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "to")


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_each_sees_what_it_recorded_and_nobody_else(cast: Cast) -> None:
    for member in (cast.provider, cast.other_provider, cast.manager):
        send(member, cast)
    write_noted()
    all_of_them = [cast.manager.id, cast.provider.id, cast.other_provider.id]
    for member in (cast.admin, cast.manager):
        assert ids(member) == all_of_them
    assert ids(cast.provider) == [cast.provider.id]
    own, foreign = f"/api/v1/sources/{cast.provider.id}", f"/api/v1/sources/{cast.manager.id}"
    assert cast.provider.get(own).status_code == 200
    for path in (foreign, f"{foreign}/hours", "/api/v1/sources/999"):
        answer = cast.provider.get(path)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "source_not_found")
    for path in ("/api/v1/sources", own, f"{own}/hours"):
        assert cast.customer.get(path).status_code == 403
        assert cast.stranger.get(path).status_code == 403


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_it_pages_by_id(cast: Cast) -> None:
    for member in (cast.provider, cast.other_provider, cast.manager):
        send(member, cast)
    write_noted()
    first = cast.manager.get("/api/v1/sources?limit=2")
    assert [one["id"] for one in first.get_json()["data"]] == [cast.manager.id, cast.provider.id]
    rest = cast.manager.get(f"/api/v1/sources?limit=2&cursor={first.get_json()['next_cursor']}")
    assert [one["id"] for one in rest.get_json()["data"]] == [cast.other_provider.id]
    assert rest.get_json()["next_cursor"] is None


def send(member: Member, cast: Cast) -> None:
    record = {"quantity": 1, "event": "api_calls", "user_id": cast.customer.id}
    assert member.post("/api/v1/usage/", record).status_code == 201


def hours(member: Member, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = member.get(path).get_json()["data"]
    return found


def ids(member: Member) -> list[int]:
    return [one["id"] for one in member.get("/api/v1/sources").get_json()["data"]]
