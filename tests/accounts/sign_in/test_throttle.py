"""Passwords cannot be tried one after the other; nobody is locked out for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select

from billtrack.accounts.sign_in import throttle
from billtrack.accounts.sign_in.throttle import (
    KEPT,
    MOST_AT_ACCOUNT,
    MOST_FROM_ADDRESS,
    MOST_HERE,
    WINDOW,
    TooManyTries,
)
from billtrack.accounts.users.models import SignInTry
from billtrack.platform.audit import Actor
from billtrack.platform.audit.models import AuditEntry, AuditPersonalValue
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.usage.racing import in_threads

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HERE = "192.0.2.7"
ADA = "ada@test.example"


def count(
    email: str = ADA, address: str | None = HERE, now: datetime = NOON
) -> TooManyTries | None:
    with transaction():
        return throttle.count_try(
            email=email, address=address, actor=Actor(address=address), now=now
        )


def allowed(times: int, *, email: str = ADA, address: str = HERE) -> int:
    return sum(count(email, address) is None for _ in range(times))


@pytest.mark.usefixtures("app")
class TestLimits:
    def test_it_allows_few_tries_at_an_account_from_an_address(self) -> None:
        assert allowed(MOST_HERE + 5) == MOST_HERE
        assert allowed(1, email="Ada@Test.Example ") == 0
        assert allowed(1, email="bea@test.example") == 1
        assert allowed(1, address="192.0.2.8") == 1

    def test_it_allows_more_from_an_address_at_many_accounts(self) -> None:
        tries = [allowed(1, email=f"{n}@test.example") for n in range(MOST_FROM_ADDRESS + 5)]
        assert sum(tries) == MOST_FROM_ADDRESS
        assert allowed(1, address="192.0.2.8") == 1

    def test_it_bounds_tries_at_an_account_from_everywhere(self) -> None:
        tries = [allowed(1, address=f"192.0.{n}.1") for n in range(MOST_AT_ACCOUNT + 5)]
        assert sum(tries) == MOST_AT_ACCOUNT
        assert allowed(1, email="bea@test.example") == 1

    def test_it_takes_a_network_for_one_address(self) -> None:
        tries = [allowed(1, address=f"2001:db8::{n:x}") for n in range(1, MOST_HERE + 3)]
        assert sum(tries) == MOST_HERE
        assert allowed(1, address="2001:db8:0:1::1") == 1
        assert allowed(MOST_HERE, address="192.0.2.9") == MOST_HERE
        assert allowed(1, address="::ffff:192.0.2.9") == 0

    def test_it_counts_those_without_an_address_together(self) -> None:
        assert sum(count(address=None) is None for _ in range(MOST_HERE + 1)) == MOST_HERE

    def test_it_ends_with_the_window_however_many_tries_come(self) -> None:
        allowed(MOST_HERE)
        for minutes in range(1, 15):
            refusal = count(now=NOON + timedelta(minutes=minutes))
            assert refusal is not None
            assert refusal.retry_after == (15 - minutes) * 60
        assert count(now=NOON + WINDOW) is None
        assert sum(count(now=NOON + WINDOW) is None for _ in range(MOST_HERE)) == MOST_HERE - 1

    def test_it_forgives_whoever_knew_the_password(self) -> None:
        for _ in range(3 * MOST_FROM_ADDRESS):
            assert count() is None
            with transaction():
                throttle.forgive(email=ADA, address=HERE)
        allowed(MOST_HERE - 1)
        assert count() is None
        with transaction():
            throttle.forgive(email=ADA, address=HERE)
        assert allowed(MOST_HERE + 1) == MOST_HERE

    def test_it_notes_the_first_refusal_and_no_more(self) -> None:
        allowed(MOST_HERE + 5)
        refused = select(AuditEntry.id).where(AuditEntry.action == "sign_in.throttled")
        entry_id = db.session.scalars(refused).one()
        kept = select(AuditPersonalValue).where(AuditPersonalValue.entry_id == entry_id)
        values = {row.field: row.value for row in db.session.scalars(kept)}
        assert values == {"email": ADA, "address": HERE}

    def test_it_keeps_no_address_and_forgets(self) -> None:
        count()
        rows = db.session.execute(select(SignInTry.subject)).scalars().all()
        assert all(len(subject) == 16 and b"ada" not in subject for subject in rows)
        with transaction():
            throttle.forget_old_tries(NOON + WINDOW + KEPT)
        assert db.session.scalar(select(func.count()).select_from(SignInTry)) == 3
        with transaction():
            throttle.forget_old_tries(NOON + WINDOW + KEPT + timedelta(seconds=1))
        assert db.session.scalar(select(func.count()).select_from(SignInTry)) == 0


@pytest.mark.by_chance
def test_many_at_once_get_no_further_than_one_after_the_other(app: APIFlask) -> None:
    db.session.rollback()
    answers = in_threads(app, [partial(count)] * 12)
    assert sum(answer is None for answer in answers) == MOST_HERE
