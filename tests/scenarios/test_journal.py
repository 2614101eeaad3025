"""What a web server has counted is stored before it ends."""

from __future__ import annotations

from datetime import UTC, datetime

from billtrack.accounts.users.permissions import Breadth, Reach, Role
from billtrack.usage.sources.queries import list_sources
from tests.scenarios.accounts import create_account
from tests.scenarios.harness import Installation, eventually

EVERYTHING = Reach(Breadth.ALL, 0)
RECORDS = 20


def test_what_was_counted_outlives_a_graceful_stop(installation: Installation) -> None:
    provider = create_account(installation, Role.PROVIDER, "provider@test.example")
    customer = create_account(installation, Role.CUSTOMER, "customer@test.example")
    record = {"quantity": 1, "event": "api_calls", "user_id": customer.id}
    with installation.start("serve") as server:
        eventually(installation.answers, lambda: server.text)
        statuses = [
            installation.ask("POST", "/api/v1/usage/", key=provider.key, body=body).status
            for body in [record] * RECORDS + [{**record, "event": "unheard_of"}]
        ]
        assert statuses == [201] * RECORDS + [422]
        assert server.stop() == 0
    with installation.inside():
        (source,) = list_sources(reach=EVERYTHING, now=datetime.now(UTC))
    assert (source.last_day.accepted, source.last_day.rejected) == (RECORDS, 1)
