"""Demo data: loaded once, whole after kill -9 in the middle, with accounts that stay."""

from __future__ import annotations

import shutil
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Role
from billtrack.billing.plans.models import Subscription
from billtrack.core.periods import BillingCalendar, DateRange, Month
from billtrack.entrypoints.setup import demo as loading
from billtrack.entrypoints.setup.demo import ACCOUNTS_FILE, AddressTaken, demo_accounts, load_demo
from billtrack.entrypoints.setup.demo_usage import demo_customers, demo_first_day, usage_on
from billtrack.platform.config import Settings
from billtrack.platform.extensions import db
from billtrack.platform.installation.queries import find_installation
from billtrack.usage.ingest.intake import submit
from billtrack.usage.records.models import UsageDaily, UsageKey, UsageRecord
from billtrack.usage.records.outcomes import Outcome, Status
from billtrack.usage.records.submissions import Terms, UsageInput
from tests.cast import create_user
from tests.entrypoints.setup.test_initialise import DYING
from tests.scenarios.harness import Installation, Running


@pytest.fixture
def installation(sqlite_template: Path, tmp_path: Path) -> Iterator[Installation]:
    """A set-up installation on SQLite."""
    shutil.copy(sqlite_template, tmp_path / "billtrack.db")
    made = Installation(tmp_path)
    yield made
    made.close()


def counts(installation: Installation) -> dict[str, int]:
    models = (User, Subscription, UsageRecord, UsageKey)
    with installation.inside():
        found = {
            model.__name__: db.session.scalar(select(func.count()).select_from(model)) or 0
            for model in models
        }
        rolled_up = db.session.scalar(select(func.sum(UsageDaily.count))) or 0
    assert int(rolled_up) == found["UsageRecord"] == found["UsageKey"]
    return found


def is_loaded(installation: Installation) -> bool:
    with installation.inside():
        found = find_installation()
        return found is not None and found.demo_loaded_at is not None


def test_it_is_loaded_once_with_an_account_for_each_role(installation: Installation) -> None:
    first = installation.run("demo")
    assert first.returncode == 0, first.stderr
    assert is_loaded(installation)
    loaded = counts(installation)
    assert loaded["UsageRecord"] > 30_000
    assert loaded["User"] == 28
    second = installation.run("demo")
    assert second.stdout == first.stdout
    assert counts(installation) == loaded

    file = installation.folder / ACCOUNTS_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    accounts = demo_accounts(installation.settings)
    assert [account.role for account in accounts] == [str(role) for role in Role]
    for account in accounts:
        assert account.email in first.stdout
        assert account.password in first.stdout


def test_it_goes_on_after_kill_9_in_the_middle(installation: Installation) -> None:
    installation.environment["BILLTRACK_BACKFILL_DAYS"] = "40"
    whole = Installation(installation.folder / "whole", BILLTRACK_BACKFILL_DAYS="40")
    assert whole.run("demo").returncode == 0
    today = datetime.now(UTC).date()
    for words in ("INSERT INTO users", "INSERT INTO usage_records"):
        command = [sys.executable, "-c", DYING, words, "demo"]
        with Running(command, installation.environment) as demo:
            assert demo.wait() == -signal.SIGKILL, f"{words}: {demo.text}"
        assert not is_loaded(installation)
    result = installation.run("demo")
    assert result.returncode == 0, result.stderr
    assert is_loaded(installation)
    if datetime.now(UTC).date() == today:
        assert counts(installation) == counts(whole)
    whole.close()


def totals() -> dict[str, int]:
    """Return all that is rolled up, by customer, so that two loads can be compared."""
    db.session.rollback()
    query = (
        select(User.email, func.sum(UsageDaily.quantity))
        .join(User, User.id == UsageDaily.user_id)
        .group_by(User.email)
    )
    return {email: int(total) for email, total in db.session.execute(query)}


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/New_York"])
def test_it_never_begins_before_records_are_accepted(zone: str) -> None:
    calendar = BillingCalendar(zone)
    for hours in range(0, 5 * 366 * 24, 13):
        now = datetime(2027, 1, 1, 12, tzinfo=UTC) + timedelta(hours=hours)
        newest = Month.of(calendar.today(now))
        assert loading._days(newest, now, calendar, 400).first == demo_first_day(newest)
        for window in (1, 31, 395):
            days = loading._days(newest, now, calendar, window)
            is_accepted = calendar.starts_at(days.first) >= now - timedelta(days=window)
            assert is_accepted or days.days == 1
            # Where clocks were put back, the oldest day may lie an hour too far behind.
            assert days.first == demo_first_day(newest) or days.days >= window - 1
            assert days.last == calendar.today(now)


@pytest.mark.parametrize("window", [1, 6])
def test_nothing_of_it_is_refused(
    app: APIFlask,
    settings: Settings,
    now: datetime,
    window: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes: list[Outcome] = []

    def watch(batch: Sequence[UsageInput], *, terms: Terms) -> list[Outcome]:
        answers = submit(batch, terms=terms)
        outcomes.extend(answers)
        return answers

    monkeypatch.setattr(loading, "submit", watch)
    # Late in the day, so that most of it lies behind; the oldest day is cut by the window.
    late = now.replace(hour=23, minute=59)
    load_demo(settings.model_copy(update={"backfill_days": window}), now=late)
    assert {outcome.status for outcome in outcomes} == {Status.ACCEPTED}
    days = DateRange(late.date() - timedelta(days=window - 1), late.date())
    customers = demo_customers(Month.of(late.date()))
    assert len(outcomes) == sum(len(usage_on(c, day)) for c in customers for day in days)


def test_a_load_that_goes_on_next_month_goes_on_with_the_same_quantities(
    app: APIFlask, settings: Settings, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = settings.model_copy(update={"backfill_days": 50})
    now = now.replace(day=25)
    outcomes: list[Outcome] = []

    def stop(batch: Sequence[UsageInput], *, terms: Terms) -> list[Outcome]:
        submit(batch, terms=terms)
        raise KeyboardInterrupt

    def watch(batch: Sequence[UsageInput], *, terms: Terms) -> list[Outcome]:
        answers = submit(batch, terms=terms)
        outcomes.extend(answers)
        return answers

    monkeypatch.setattr(loading, "submit", stop)
    with pytest.raises(KeyboardInterrupt):
        load_demo(short, now=now)
    begun = totals()
    monkeypatch.setattr(loading, "submit", watch)
    load_demo(short, now=now + timedelta(days=12))
    assert {outcome.status for outcome in outcomes} == {Status.ACCEPTED, Status.DUPLICATE}
    assert all(total >= begun[email] for email, total in totals().items() if email in begun)


def test_its_accounts_are_marked_and_as_old_as_their_usage(
    app: APIFlask, settings: Settings, now: datetime
) -> None:
    create_user(email="real@test.example")
    load_demo(settings.model_copy(update={"backfill_days": 5}), now=now)
    db.session.rollback()
    users = db.session.scalars(select(User)).all()
    assert {user.email for user in users if not user.is_demo} == {"real@test.example"}
    assert sum(user.is_demo for user in users) == 28
    for user in users:
        first = db.session.scalar(
            select(func.min(UsageRecord.occurred_at)).where(UsageRecord.user_id == user.id)
        )
        assert first is None or user.created_at <= first


def test_it_leaves_an_account_alone_that_has_one_of_its_addresses(
    app: APIFlask, settings: Settings, now: datetime
) -> None:
    create_user(email="ops@kiln.example")
    with pytest.raises(AddressTaken, match=r"ops@kiln\.example.*BILLTRACK_DEMO=0"):
        load_demo(settings, now=now)
    db.session.rollback()
    assert db.session.scalar(select(func.count()).select_from(User)) == 1
    assert db.session.scalar(select(func.count()).select_from(UsageRecord)) == 0
