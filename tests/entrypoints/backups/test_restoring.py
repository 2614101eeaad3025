"""A backup comes back as it was, proven, into an empty installation; or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from apiflask import APIFlask
from flask_migrate import downgrade
from sqlalchemy import update

from billtrack.core.errors import ConflictError, InvalidError
from billtrack.entrypoints.backups.archive import open_backup
from billtrack.entrypoints.backups.manifest import BackupRefused
from billtrack.entrypoints.backups.restoring import RestoreDiffers, RestoreFailed
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, current_settings, db
from billtrack.platform.installation.parts import get_database_state
from billtrack.usage.ingest.intake import submit_one
from billtrack.usage.records.models import UsageDaily
from billtrack.usage.records.submissions import UsageInput
from billtrack.usage.records.verification import Difference, MonthDifference, verify
from tests.cast import Cast, create_record, terms
from tests.entrypoints.backups.worlds import (
    Take,
    assert_is_empty,
    create_document,
    every_row,
    restore,
    rewrite,
    set_revision,
    storage_of,
)


def put_secrets(folder: Path) -> None:
    for name in ("secret_key", "demo-accounts.json"):
        (folder / name).write_text(f"what is in {name}")
        (folder / name).chmod(0o600)


def test_everything_comes_back_as_it_was(
    app: APIFlask, cast: Cast, take: Take, empty: APIFlask
) -> None:
    record = create_record(cast, quantity=10**15, key="ключ-🔑")
    create_record(cast, quantity=7, event="cpu_time", user=cast.other_customer)
    document = create_document(app, cast, b"%PDF- content")
    put_secrets(current_settings().data_dir)
    before = every_row(app)
    assert any(row[0] == record.id for row in before["usage_records"])

    restored = restore(take(), empty)

    assert every_row(empty) == before
    assert (restored.documents, restored.users, restored.rollups) == (1, 7, 2)
    assert restored.differences == []
    with storage_of(empty).open(document) as content:
        assert content.read() == b"%PDF- content"
    folder = empty.extensions["billtrack.settings"].data_dir
    for name in ("secret_key", "demo-accounts.json"):
        assert (folder / name).read_text() == f"what is in {name}"
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    with empty.app_context():
        assert [user for user in verify(calendar=current_calendar()) if user.differences] == []


def test_what_is_recorded_afterwards_gets_an_id_of_its_own(
    app: APIFlask, cast: Cast, take: Take, empty: APIFlask
) -> None:
    first = create_record(cast)
    rules, item = terms(cast.provider), UsageInput(cast.customer.id, "api_calls", 1)
    restore(take(), empty)
    with empty.app_context():
        again, is_new = submit_one(item, terms=rules)
    assert is_new
    assert again.id > first.id


def test_it_refuses_an_installation_that_holds_anything(
    app: APIFlask, cast: Cast, take: Take
) -> None:
    create_record(cast)
    source = take()
    before = every_row(app)
    with pytest.raises(ConflictError, match="holds"):
        restore(source, app)
    assert every_row(app) == before


def test_nothing_is_left_when_the_totals_differ(
    app: APIFlask, cast: Cast, take: Take, empty: APIFlask
) -> None:
    create_record(cast, quantity=12)
    create_document(app, cast, b"content")
    put_secrets(current_settings().data_dir)
    source = take()
    with open_backup(source) as backup:
        totals = backup.manifest.totals.model_dump()
    totals["rows"]["users"] += 1
    totals["recorded"]["api_calls"]["quantity"] = 13
    wrong = source.with_name("wrong.tar")
    rewrite(source, wrong, totals=totals)
    with pytest.raises(RestoreDiffers) as refused:
        restore(wrong, empty)
    assert "rows of users: 8, but 7" in refused.value.detail
    assert "api_calls recorded: 13, but 12" in refused.value.detail
    assert_is_empty(empty)
    assert restore(source, empty).documents == 1


def test_nothing_is_left_when_the_disk_is_full(
    app: APIFlask, cast: Cast, take: Take, empty: APIFlask, full_disk: Callable[[], None]
) -> None:
    create_document(app, cast, b"small")
    create_document(app, cast, bytes(50_000))
    source = take()
    full_disk()
    with pytest.raises(RestoreFailed, match=r"Nothing was restored.*File too large"):
        restore(source, empty)
    assert_is_empty(empty)


def test_a_failure_puts_the_secret_back_that_was_there(
    app: APIFlask, cast: Cast, take: Take, empty: APIFlask
) -> None:
    put_secrets(current_settings().data_dir)
    source = take()
    rewrite(
        source, source.with_name("wrong.tar"), totals={"rows": {}, "recorded": {}, "rolled_up": {}}
    )
    key = empty.extensions["billtrack.settings"].data_dir / "secret_key"
    key.write_text("of this installation")
    with pytest.raises(RestoreDiffers):
        restore(source.with_name("wrong.tar"), empty)
    assert key.read_text() == "of this installation"
    restore(source, empty)
    assert key.read_text() == "what is in secret_key"


def test_rollups_that_were_wrong_come_back_wrong_and_are_named(
    app: APIFlask, cast: Cast, take: Take, empty: APIFlask
) -> None:
    create_record(cast, quantity=100)
    with transaction() as session:
        session.execute(update(UsageDaily).values(quantity=99))
    by_day, by_month = restore(take(), empty).differences
    assert isinstance(by_day, Difference)
    assert isinstance(by_month, MonthDifference)
    assert (by_day.recorded.quantity, by_day.rolled_up.quantity) == (100, 99)
    assert (by_month.days, by_month.rolled_up) == (99, 100)
    assert every_row(empty) == every_row(app)


def test_an_older_schema_is_brought_up_to_date(
    app: APIFlask, cast: Cast, take: Take, empty: APIFlask
) -> None:
    create_record(cast, quantity=5)
    db.session.rollback()
    downgrade(revision="0001")
    with empty.app_context():
        head = get_database_state().head
        db.session.remove()
    source = take()
    with open_backup(source) as backup:
        assert backup.manifest.revision == "0001"
    restored = restore(source, empty)
    assert (restored.rollups, restored.differences) == (1, [])
    with empty.app_context():
        assert get_database_state().revision == head


def test_a_newer_schema_is_refused(take: Take, empty: APIFlask) -> None:
    set_revision("9999")
    with pytest.raises(BackupRefused, match="9999, which is newer"):
        restore(take(), empty)
    assert_is_empty(empty)


def test_a_database_that_is_not_set_up_has_no_backup(empty: APIFlask, tmp_path: Path) -> None:
    with empty.app_context(), pytest.raises(InvalidError, match="billtrack init"):
        Take(empty, tmp_path)()
    assert list((tmp_path / "backups").iterdir()) == []


def test_another_time_zone_is_refused(take: Take, empty: APIFlask) -> None:
    source = take()
    rewrite(source, source.with_name("kathmandu.tar"), timezone="Asia/Kathmandu")
    with pytest.raises(BackupRefused, match="Set BILLTRACK_TIMEZONE=Asia/Kathmandu"):
        restore(source.with_name("kathmandu.tar"), empty)
    assert_is_empty(empty)


def test_another_kind_of_database_is_refused(take: Take, empty: APIFlask) -> None:
    source = take()
    with open_backup(source) as backup:
        other = {"sqlite": "postgresql", "postgresql": "sqlite"}[backup.manifest.database]
    rewrite(source, source.with_name("other.tar"), database=other)
    with pytest.raises(BackupRefused, match=f"a backup of {other}"):
        restore(source.with_name("other.tar"), empty)
    assert_is_empty(empty)


def test_documents_that_the_storage_has_kept_are_left_where_they_are(
    app: APIFlask, cast: Cast, take: Take, empty: APIFlask
) -> None:
    kept, lost = create_document(app, cast, b"kept"), create_document(app, cast, b"lost")
    source = take()
    storage_of(empty).put(kept, b"kept")
    assert restore(source, empty).documents == 1
    for path, content in ((kept, b"kept"), (lost, b"lost")):
        with storage_of(empty).open(path) as file:
            assert file.read() == content


def test_other_documents_under_the_same_paths_are_refused(
    app: APIFlask, cast: Cast, take: Take, empty: APIFlask
) -> None:
    path = create_document(app, cast, b"mine")
    source = take()
    storage_of(empty).put(path, b"theirs")
    with pytest.raises(ConflictError, match="another"):
        restore(source, empty)
    with storage_of(empty).open(path) as file:
        assert file.read() == b"theirs"


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_log_that_was_left_of_another_database_is_not_taken_for_its_own(
    take: Take, empty: APIFlask
) -> None:
    folder = empty.extensions["billtrack.settings"].data_dir
    (folder / "billtrack.db-wal").write_bytes(b"changes to another database")
    with pytest.raises(ConflictError, match=r"billtrack\.db-wal"):
        restore(take(), empty)
