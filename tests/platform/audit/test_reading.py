"""Reading the audit log: the page and the API, filters, values, who may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import update

from billtrack.accounts.users.models import User
from billtrack.platform import audit
from billtrack.platform.audit.operations import erase_personal_values
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.cast import Cast, Member
from tests.dashboard.page import Page, Visitor

NOW = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)


def note(action: str, by: Member | None = None, *, days_ago: int = 0, **options: Any) -> None:
    actor = audit.Actor(user_id=by.id if by else None, address="192.0.2.7" if by else None)
    said: dict[str, Any] = {"object_type": "user", "object_id": 7, **options}
    with transaction():
        audit.record(action, actor=actor, now=NOW - timedelta(days=days_ago), **said)


@pytest.fixture
def entries(cast: Cast) -> None:
    with transaction():
        db.session.execute(update(User).values(created_at=NOW - timedelta(days=30)))
    note("thing.made", cast.admin, days_ago=2, changes={"size": 3})
    note("thing.changed", cast.manager, days_ago=1, changes={"size": audit.Change(3, 4)})
    note(
        "thing.renamed",
        cast.manager,
        personal={"name": audit.PersonalChange("<b>Old</b>", "New name")},
        subject_id=cast.customer.id,
        object_id=8,
    )


def actions(member: Member, query: str = "") -> list[str]:
    body = member.get(f"/api/v1/audit?{query}").get_json()
    return [entry["action"] for entry in body["data"] if entry["action"].startswith("thing.")]


def rows(page: Page) -> list[list[str]]:
    table = page.table("Entries of the audit log, newest first")
    return [row for row in table if row[0].startswith("Thing ")]


@pytest.mark.usefixtures("entries")
class TestApi:
    def test_it_lists_the_newest_first_with_both_values(self, cast: Cast) -> None:
        renamed, changed, made = cast.admin.get("/api/v1/audit?limit=3").get_json()["data"]
        assert made["changes"] == {"size": 3}
        assert changed["changes"] == {"size": {"before": 3, "after": 4}}
        assert changed["actor_user_id"] == cast.manager.id
        assert renamed["personal"] == {
            "address": {"before": None, "after": "192.0.2.7", "erased": False},
            "name": {"before": "<b>Old</b>", "after": "New name", "erased": False},
        }
        assert renamed["at"] == "2026-11-20T23:30:00Z"

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("action=thing.made", ["thing.made"]),
            ("object_type=user&object_id=8", ["thing.renamed"]),
            ("object_type=plan&object_id=8", []),
            ("from=2026-11-20&to=2026-11-20", ["thing.renamed"]),
            ("from=2026-11-19&to=2026-11-20", ["thing.renamed", "thing.changed"]),
            ("from=2026-11-01&to=2026-11-18", ["thing.made"]),
            ("action=none", []),
        ],
    )
    def test_it_filters(self, cast: Cast, query: str, found: list[str]) -> None:
        assert actions(cast.admin, query) == found

    def test_it_finds_what_somebody_did(self, cast: Cast) -> None:
        assert actions(cast.admin, f"user_id={cast.manager.id}") == [
            *("thing.renamed", "thing.changed")
        ]

    def test_it_goes_on_by_cursor(self, cast: Cast) -> None:
        seen: list[int] = []
        more: str | None = ""
        while more is not None:
            body = cast.admin.get(f"/api/v1/audit?limit=2{more}").get_json()
            seen += [entry["id"] for entry in body["data"]]
            more = f"&cursor={body['next_cursor']}" if body["next_cursor"] else None
        assert seen == sorted(set(seen), reverse=True)
        assert seen[-1] == 1

    def test_it_is_for_administrators(self, cast: Cast) -> None:
        for member in (cast.manager, cast.provider, cast.customer, cast.stranger):
            assert member.get("/api/v1/audit").status_code == 403


@pytest.mark.usefixtures("entries")
class TestPage:
    def test_it_says_who_did_what_to_which_value(self, app: APIFlask, cast: Cast) -> None:
        page = Visitor(app, cast.admin).open("/settings/audit")
        renamed, changed, made = rows(page)
        assert made[1].startswith(cast.admin.user.name)
        assert cast.manager.user.email in changed[1]
        assert "Size: 3 → 4" in changed[3]
        assert "Name: <b>Old</b> → New name" in renamed[3]
        assert "User 8" in renamed[2]

    def test_it_does_not_name_who_came_later(self, app: APIFlask, cast: Cast) -> None:
        with transaction():
            db.session.execute(
                update(User).where(User.id == cast.manager.id).values(created_at=NOW)
            )
        renamed, changed, _ = rows(Visitor(app, cast.admin).open("/settings/audit"))
        assert changed[1] == f"Account {cast.manager.id}"
        assert cast.manager.user.email in renamed[1]

    def test_it_filters_by_person_action_days_and_object(self, app: APIFlask, cast: Cast) -> None:
        visitor = Visitor(app, cast.admin)
        for query, found in (
            (f"who={cast.manager.user.email.upper()}", 2),
            ("who=nobody@test.example", 0),
            ("action=thing.made", 1),
            ("from=2026-11-20&to=2026-11-20", 1),
            ("object=user&number=8&to=2026-11-20", 1),
        ):
            page = visitor.open(f"/settings/audit?{query}")
            assert len([row for row in _all_rows(page) if row[0].startswith("Thing ")]) == found

    def test_it_keeps_what_was_typed_and_says_what_is_wrong(
        self, app: APIFlask, cast: Cast
    ) -> None:
        page = Visitor(app, cast.admin).open("/settings/audit?from=2026-02-31&who=ada")
        assert page.values("/settings/audit")["who"] == "ada"
        assert "Write a day that exists" in page.text
        turned = Visitor(app, cast.admin).open("/settings/audit?from=2026-11-20&to=2026-11-01")
        assert turned.error("/settings/audit", "to")

    def test_it_shows_that_something_was_erased(self, app: APIFlask, cast: Cast) -> None:
        with transaction():
            assert erase_personal_values([cast.customer.id]) >= 1
        page = Visitor(app, cast.admin).open("/settings/audit")
        assert "Name: erased" in rows(page)[0][3]
        assert "New name" not in page.source


def _all_rows(page: Page) -> list[list[str]]:
    if "Nothing matches" in page.text:
        return []
    return page.table("Entries of the audit log, newest first")
