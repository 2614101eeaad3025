"""Files of reports go after a set time; the reports stay, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, BinaryIO

import pytest
from apiflask import APIFlask
from sqlalchemy import select

from billtrack.core.periods import Month
from billtrack.documents.reports.models import Report
from billtrack.documents.reports.operations import request_report
from billtrack.documents.reports.retention import remove_old_files
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.jobs.operations import claim, mark_completed
from billtrack.platform.storage.local import LocalStorage
from billtrack.platform.storage.object_storage import ObjectStorage, StorageUnavailable
from billtrack.platform.storage.storage import DocumentGone, Storage, StoredFile
from tests.cast import SYSTEM, Cast
from tests.platform.storage.test_object_storage import endpoint, storage

__all__ = ["endpoint", "storage"]

DAYS = 30


class Stubborn:
    """A storage that cannot remove one of its folders: it says so, or says nothing."""

    def __init__(self, kept: Storage, folder: str, error: Exception | None) -> None:
        self._kept, self._folder, self._error = kept, folder, error

    def put(self, path: str, content: bytes) -> StoredFile:
        return self._kept.put(path, content)

    def open(self, path: str) -> BinaryIO:
        return self._kept.open(path)

    def remove(self, folder: str) -> None:
        if folder != self._folder:
            self._kept.remove(folder)
        elif self._error is not None:
            raise self._error

    def list_paths(self) -> Iterator[str]:
        return self._kept.list_paths()


@pytest.fixture
def files(app: APIFlask) -> LocalStorage:
    """The storage of the app."""
    found = app.extensions["billtrack.storage"]
    assert isinstance(found, LocalStorage)
    return found


def make_report(cast: Cast, kept: Storage, *, finished_at: datetime) -> Report:
    """Ask for a report and finish it, as a worker would."""
    with transaction():
        days = Month.of(current_calendar().today(finished_at)).dates
        asked: dict[str, Any] = {"file_format": "csv", "actor": SYSTEM, "now": finished_at}
        report = request_report(cast.customer.user, days, **asked)
    path = f"{report.job_id}/1/made.csv"
    with transaction():
        claim(report.job_id, worker_id="test", now=finished_at)
        mark_completed(report.job_id, 1, now=finished_at)
        db.session.get_one(Report, report.id).path = kept.put(path, b"figures").path
    return report


def path_of(report: Report) -> str | None:
    db.session.rollback()
    return db.session.scalar(select(Report.path).where(Report.id == report.id))


def is_kept(kept: Storage, path: str | None) -> bool:
    assert path is not None
    try:
        kept.open(path).close()
    except DocumentGone:
        return False
    return True


def test_old_files_go_and_new_ones_stay(cast: Cast, files: LocalStorage, now: datetime) -> None:
    limit = now - timedelta(days=DAYS)
    old = make_report(cast, files, finished_at=limit - timedelta(seconds=1))
    new = make_report(cast, files, finished_at=limit + timedelta(seconds=1))
    old_path, new_path = path_of(old), path_of(new)
    assert remove_old_files(files, now=now, days=DAYS) == 1
    assert path_of(old) is None
    assert not is_kept(files, old_path)
    assert path_of(new) == new_path
    assert is_kept(files, new_path)
    assert remove_old_files(files, now=now, days=DAYS) == 0


def test_an_object_store_forgets_them_too(
    cast: Cast, storage: ObjectStorage, now: datetime
) -> None:
    old = make_report(cast, storage, finished_at=now - timedelta(days=DAYS + 1))
    new = make_report(cast, storage, finished_at=now)
    old_path = path_of(old)
    assert remove_old_files(storage, now=now, days=DAYS) == 1
    assert not is_kept(storage, old_path)
    assert is_kept(storage, path_of(new))


def test_a_download_then_says_that_the_file_is_gone(
    cast: Cast, files: LocalStorage, now: datetime
) -> None:
    report = make_report(cast, files, finished_at=now - timedelta(days=DAYS + 1))
    month = Month.of(report.first_on)
    address = f"/reports/{report.job_id}/user-{report.user_id}-{month}.csv"
    with cast.customer.get(address) as sent:
        assert (sent.status_code, sent.data) == (200, b"figures")
    remove_old_files(files, now=now, days=DAYS)
    db.session.rollback()
    answer = cast.customer.get(address)
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["code"] == "document_gone"


@pytest.mark.parametrize("error", [StorageUnavailable("away"), PermissionError("no"), None])
def test_one_failure_never_stops_the_sweep(
    cast: Cast, files: LocalStorage, now: datetime, error: Exception | None
) -> None:
    reports = [
        make_report(cast, files, finished_at=now - timedelta(days=DAYS + age)) for age in (3, 2, 1)
    ]
    stuck = Stubborn(files, str(reports[0].job_id), error)
    assert remove_old_files(stuck, now=now, days=DAYS) == 2
    assert path_of(reports[0]) is not None
    assert [path_of(report) for report in reports[1:]] == [None, None]
    assert remove_old_files(files, now=now, days=DAYS) == 1


def test_a_file_that_is_gone_already_is_no_failure(
    cast: Cast, files: LocalStorage, now: datetime
) -> None:
    report = make_report(cast, files, finished_at=now - timedelta(days=DAYS + 1))
    files.remove(str(report.job_id))  # what a sweep leaves that is killed in between
    assert remove_old_files(files, now=now, days=DAYS) == 1
    assert path_of(report) is None


def test_more_than_one_batch_goes(
    cast: Cast, files: LocalStorage, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billtrack.documents.reports.retention.BATCH", 2)
    for _ in range(5):
        make_report(cast, files, finished_at=now - timedelta(days=DAYS + 1))
    assert remove_old_files(files, now=now, days=DAYS) == 5
