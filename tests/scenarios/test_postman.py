"""The Postman collection is run as it lies in the repository, on an installation with demo data."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from billtrack.accounts.users.models import ApiKey, TokenFamily, User
from billtrack.accounts.users.permissions import READ_ONLY, Role
from billtrack.platform.db import Base
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.usage.records.models import UsageDaily, UsageRecord
from billtrack.usage.sources.models import RejectedRecord
from tests.answers import assert_as_documented, documented_path
from tests.postman import FILE, Postman, Sent
from tests.scenarios.accounts import Account, create_account
from tests.scenarios.conftest import Site
from tests.scenarios.harness import Installation, eventually

FIRST, *MIDDLE, LAST = [
    folder["name"] for folder in json.loads(FILE.read_text(encoding="utf-8"))["item"]
]
PASSING = {
    # What was done and seen, and the work of the background: it goes on beside every run.
    *("audit_entries", "audit_personal_values", "audit_head", "usage_sources"),
    *("usage_source_hours", "month_summaries", "installation", "worker_heartbeats"),
    *("jobs", "letters", "sessions", "sign_in_tries"),
    # Answers that are kept for a day, under the idempotency keys of requests.
    "command_keys",
}
SEEN = {"used_at"}

Rows = dict[str, dict[Any, Mapping[str, Any]]]


@pytest.fixture
def admin(site: Site) -> Account:
    made = create_account(site.installation, Role.ADMIN, f"{uuid.uuid4()}@test.example")
    assert site.installation.ask("GET", "/api/v1/me", key=made.key).status == 200
    return made


@dataclass(frozen=True)
class Run:
    """What a run has sent, and the account that it made."""

    sent: list[Sent]
    user_id: int

    @property
    def job_ids(self) -> set[int]:
        """Return the jobs that it asked for, with those of a group."""
        answers = [one.answer.json for one in self.sent if one.answer and one.answer.status == 202]
        found = [job for asked in answers for job in (asked, *asked.get("jobs", []))]
        return {int(job["jobId"]) for job in found if "jobId" in job}


def run_all(site: Site, key: str, *folders: str) -> Run:
    sent = list(Postman(site.installation, key).run(*folders))
    (made,) = [one.answer for one in sent if is_set_up(one.request) and one.answer is not None]
    return Run(sent, made.json["id"])


def is_set_up(request: Mapping[str, Any]) -> bool:
    return bool(request["method"] == "POST" and request["url"]["path"][-1] == "users")


def rows(installation: Installation) -> Rows:
    """Return every row of every table, but those of erased accounts, whose erasure goes on."""
    with installation.inside(), db.session.begin():
        erased = set(db.session.scalars(select(User.id).where(User.erased_at.is_not(None))))
        return {
            table.name: dict(_rows(table, erased))
            for table in Base.metadata.sorted_tables
            if table.name not in PASSING
        }


def _rows(table: Table, erased: Collection[int]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    query = select(table)
    if table.name == "usage_keys":
        own = select(UsageRecord.id).where(UsageRecord.user_id.in_(erased))
        query = query.where(table.c.record_id.not_in(own))
    for row in db.session.execute(query).mappings():
        if row.get("id" if table is User.__table__ else "user_id") not in erased:
            key = tuple(row[column.name] for column in table.primary_key)
            yield key, {name: value for name, value in row.items() if name not in SEEN}


def assert_all_taken_back(installation: Installation, user_id: int) -> None:
    """Check that of the account of a run nothing lives, counts or names anybody."""
    with installation.inside(), db.session.begin():
        user = db.session.get_one(User, user_id)
        assert (user.is_active, user.email) == (False, f"erased-{user.id}@erased.invalid")
        keys = db.session.scalars(select(ApiKey).where(ApiKey.user_id == user.id)).all()
        assert len(keys) == 2  # one, and its successor
        assert all(key.revoked_at is not None for key in keys)
        assert set(sums(user.id)) == {0}
        for table in (TokenFamily, RejectedRecord):
            assert not db.session.scalar(select(func.count()).where(table.user_id == user.id))


def sums(user_id: int) -> list[int]:
    """Return the net quantity of each event and source, and the totals of each event and day."""
    record, daily = UsageRecord, UsageDaily
    by_source = (record.meter_id, record.recorded_by_id, record.origin)
    queries = (
        select(func.sum(record.quantity)).where(record.user_id == user_id).group_by(*by_source),
        select(daily.quantity).where(daily.user_id == user_id),
    )
    return [int(one) for query in queries for one in db.session.scalars(query)]


def wait_for_rejection(installation: Installation, user_id: int) -> None:
    """Wait until what was rejected of a run is kept, which takes a moment."""
    kept = select(func.count()).where(RejectedRecord.user_id == user_id)

    def is_kept() -> bool:
        with installation.inside(), db.session.begin():
            return db.session.scalar(kept) == 1

    eventually(is_kept, "the rejected record is kept")


def test_two_runs_leave_everything_of_others_as_it_was(site: Site, admin: Account) -> None:
    shop = site.installation
    for _ in range(2):
        before = rows(shop)
        run = run_all(site, admin.key)
        assert rows(shop) == before
        assert_all_taken_back(shop, run.user_id)
        with shop.inside(), db.session.begin():
            states = db.session.scalars(select(Job.status).where(Job.id.in_(run.job_ids))).all()
        assert states == ["completed"] * 3  # two reports, and the group of one of them


def test_every_request_is_sent_and_answered_as_documented(site: Site, admin: Account) -> None:
    shop = site.installation
    spec = shop.ask("GET", "/api/v1/openapi.json", key=admin.key).json
    postman = Postman(shop, admin.key)
    for one in postman.run():
        assert one.answer is not None, one.request["url"]["raw"]
        mimetype = one.answer.headers.get_content_type()
        assert_as_documented(
            spec,
            method=one.request["method"].lower(),
            path=documented_path(one.request),
            status=one.answer.status,
            mimetype=mimetype,
            body=one.answer.json if mimetype.endswith("json") else None,
        )
    assert {value for name, value in postman.variables.items() if name[:3] == "run"} == {""}


def test_its_keys_only_read_and_end_within_a_day(site: Site, admin: Account) -> None:
    run = run_all(site, admin.key)
    with site.installation.inside(), db.session.begin():
        keys = db.session.scalars(select(ApiKey).where(ApiKey.user_id == run.user_id)).all()
        assert {scope for key in keys for scope in key.scopes} < set(READ_ONLY)
        for key in keys:
            assert key.expires_at is not None
            assert key.expires_at - key.created_at < timedelta(days=1)


def test_a_folder_alone_changes_nothing(site: Site, admin: Account) -> None:
    before = rows(site.installation)
    for folder in MIDDLE:
        assert list(Postman(site.installation, admin.key).run(folder))
    assert rows(site.installation) == before


def test_the_clean_up_alone_sends_nothing(site: Site, admin: Account) -> None:
    before = rows(site.installation)
    sent = list(Postman(site.installation, admin.key).run(LAST))
    assert [one.answer for one in sent] == [None] * len(sent) != []
    assert rows(site.installation) == before


def test_what_a_run_made_that_stopped_half_way_is_taken_back(site: Site, admin: Account) -> None:
    shop = site.installation
    before, postman = rows(shop), Postman(shop, admin.key)
    (account,) = postman.run(FIRST)
    assert account.answer is not None
    list(postman.run("Api-keys", "Usage", "Auth"))
    wait_for_rejection(shop, account.answer.json["id"])
    list(postman.run(LAST))
    assert_all_taken_back(shop, account.answer.json["id"])
    assert rows(shop) == before


@pytest.mark.parametrize("variable", ["baseUrl", "runUserId"])
def test_the_clean_up_spares_what_is_not_of_the_run(
    site: Site, admin: Account, variable: str
) -> None:
    """Ids of a run at another address, or on a database that was made anew since then."""
    shop = site.installation
    customer = create_account(shop, Role.CUSTOMER, f"{uuid.uuid4()}@test.example")
    postman = Postman(shop, admin.key)
    list(postman.run(FIRST, "Api-keys", "Usage"))
    kept = dict(postman.variables)
    wait_for_rejection(shop, int(kept["runUserId"]))
    before = rows(shop)
    postman.variables[variable] = {
        "baseUrl": f"http://127.0.0.1:{shop.port}",
        "runUserId": str(customer.id),
    }[variable]
    list(postman.run(LAST))
    assert rows(shop) == before
    postman.variables |= kept
    list(postman.run(LAST))


def test_addresses_without_an_id_lead_nowhere(site: Site, admin: Account) -> None:
    """Programs that import the collection and know nothing of skipping send these."""
    shop = site.installation
    postman, before = Postman(shop, admin.key), rows(shop)
    for request in postman.requests:
        answer = postman.send(request)
        if request["method"] != "GET" and "{{run" in json.dumps(request):
            assert 400 <= answer.status < 500, (request["url"]["raw"], answer)
    assert rows(shop) == before
