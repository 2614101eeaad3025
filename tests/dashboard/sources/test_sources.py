"""The pages of the journal: sources, silence, refused records and the form that replays them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from apiflask import APIFlask
from sqlalchemy import select

from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import db
from billtrack.usage.records.models import UsageRecord
from billtrack.usage.sources.models import RejectedRecord, UsageSource
from billtrack.usage.sources.writing import write_noted
from tests.cast import Cast, create_record, create_refused
from tests.dashboard.page import Visitor

HOURS = "What became of the records"
SOURCES = "Accounts that send usage"
REFUSED = "Rejected records"


def test_it_shows_what_became_of_what_each_source_sent(app: APIFlask, cast: Cast) -> None:
    manager = Visitor(app, cast.manager)
    assert "Nobody has sent usage yet" in manager.open("/journal").text
    create_record(cast, key="k")
    create_record(cast, key="k")
    create_record(cast, recorded_by=cast.other_provider)
    create_refused(cast)
    page = manager.open("/journal")
    assert [row[0:1] + row[2:] for row in page.table(SOURCES)] == [
        ["Provider", "1", "1", "1", "sending"],
        ["Other provider", "1", "0", "0", "sending"],
    ]
    source = manager.open(f"/journal/sources/{cast.provider.id}")
    assert [row[1:] for row in source.table(HOURS)] == [["1", "0", "1", "0", "1", "0"]]
    assert source.figure("Accepted in 24 hours").startswith("1")
    own = Visitor(app, cast.provider)
    assert [row[0] for row in own.open("/journal").table(SOURCES)] == ["Provider"]
    own.open(f"/journal/sources/{cast.other_provider.id}", status=404)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_it_warns_of_who_has_gone_silent(app: APIFlask, cast: Cast) -> None:
    for member in (cast.provider, cast.other_provider):
        create_record(cast, recorded_by=member)
    write_noted()
    since = datetime.now(UTC) - timedelta(hours=5)
    with transaction() as session:
        session.get_one(UsageSource, cast.provider.id).silent_since_at = since
    warned = (
        (cast.admin, "/"),
        (cast.admin, "/settings/health"),
        (cast.manager, "/journal"),
        (cast.provider, "/"),
    )
    for member, path in warned:
        text = Visitor(app, member).open(path).text
        assert "silent" in text.lower(), path
        assert "Provider" in text, path
    assert "is silent" not in Visitor(app, cast.other_provider).open("/").text
    row = Visitor(app, cast.manager).open("/journal").table(SOURCES)[0]
    assert row[-1] == "silent"


def test_a_refused_record_is_mended_and_replayed(app: APIFlask, cast: Cast) -> None:
    number = create_refused(cast, key="k")
    path = f"/journal/rejected/{number}"
    manager = Visitor(app, cast.manager)
    (row,) = manager.open("/journal/rejected").table(REFUSED)
    assert row[2:5] == [str(cast.customer.id), "unheard_of", "5"]
    page = manager.open(path)
    assert "There is no event unheard_of" in page.text
    typed = {
        "event": "api_calls",
        "quantity": "7 pieces",
        "occurred_at": "yesterday",
        "metadata": "[",
    }
    refused = manager.send(page, path, typed)
    assert refused.status == 422
    for name in ("quantity", "occurred_at", "metadata"):
        assert refused.error(path, name), name
        assert refused.values(path)[name] == typed[name]
    typed = {"quantity": "7", "occurred_at": "2000-01-01T00:00:00Z", "metadata": '{"a": [1]}'}
    refused = manager.send(refused, path, typed)
    assert refused.error(path, "metadata")
    refused = manager.send(refused, path, {"metadata": '{"a": 1}'})
    assert (refused.status, "400 days ago" in str(refused.error(path, "occurred_at"))) == (
        422,
        True,
    )
    done = manager.follow(manager.send(refused, path, {"occurred_at": ""}))
    assert done.alerts[0].startswith("The usage is recorded.")
    end_read()
    record = db.session.scalars(select(UsageRecord)).one()
    assert (record.quantity, record.details, record.idempotency_key) == (7, {"a": 1}, "k")
    assert record.recorded_by_id == cast.provider.id
    assert f"as record {record.id}" in manager.open(path).text
    assert manager.open("/journal/rejected").all("table") == []
    # The form was still open elsewhere: nothing is recorded twice.
    again = manager.follow(manager.send(page, path, {"event": "vm_uptime"}))
    assert again.alerts[0].startswith("This was recorded before.")
    end_read()
    assert len(db.session.scalars(select(UsageRecord)).all()) == 1


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_the_key_is_open_only_where_it_is_taken(app: APIFlask, cast: Cast) -> None:
    create_record(cast, key="k")
    number = create_refused(cast, key="k")
    assert db.session.get_one(RejectedRecord, number).code == "idempotency_conflict"
    path = f"/journal/rejected/{number}"
    provider = Visitor(app, cast.provider)
    page = provider.open(path)
    refused = provider.send(page, path, {"event": "api_calls"})
    assert refused.status == 422
    assert "belongs to a record with other content" in " ".join(refused.alerts)
    done = provider.send(refused, path, {"idempotency_key": "k2"})
    assert provider.follow(done).alerts[0].startswith("The usage is recorded.")
    other = create_refused(cast, key="another")
    path = f"/journal/rejected/{other}"
    typed = {"event": "api_calls", "idempotency_key": "changed"}
    refused = provider.send(provider.open(path), path, typed)
    assert "key stays" in str(refused.error(path, "idempotency_key"))


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_one_button_replays_all_of_one_reason(app: APIFlask, cast: Cast) -> None:
    numbers = [create_refused(cast, key=f"k{number}") for number in range(3)]
    other = create_refused(cast, recorded_by=cast.other_provider)
    manager = Visitor(app, cast.manager)
    action = f"/journal/rejected/{numbers[0]}/alike"
    page = manager.follow(manager.send(manager.open("/journal"), action))
    assert page.alerts[0].startswith("3 not recorded: rejected again")
    with transaction() as session:
        session.connection().exec_driver_sql(
            "INSERT INTO meters (code, name, base_unit, display_unit, display_factor) "
            "VALUES ('unheard_of', 'Unheard', 'call', 'calls', 1)"
        )
    page = manager.follow(manager.send(page, action))
    assert page.alerts == ["3 records recorded."]
    assert f"/journal/rejected/{other}/alike" in page.source
    assert action not in page.source


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_it_filters_refused_records(app: APIFlask, cast: Cast) -> None:
    create_refused(cast)
    create_refused(cast, recorded_by=cast.other_provider)
    manager = Visitor(app, cast.manager)

    def shown(query: str) -> int:
        page = manager.open(f"/journal/rejected?{query}")
        return len(page.table(REFUSED)) if page.all("table") else 0

    assert shown("") == 2
    assert shown(f"source={cast.provider.id}") == 1
    assert shown("code=unknown_event") == 2
    assert shown("state=replayed") == 0
    assert shown("source=x&code=y&state=z") == 2
