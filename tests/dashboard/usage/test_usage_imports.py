"""The pages of imports: who may, what is refused at once, check, import, cancel, go on."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Runner
from billtrack.usage.imports.operations import USAGE_IMPORT
from billtrack.usage.imports.running import UsageImporter
from billtrack.usage.records.models import UsageRecord
from tests.cast import Cast, Member
from tests.dashboard.page import Page, Visitor

AT = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
HEADER = "user_id,event,quantity,occurred_at,metadata.note\n"
Work = Callable[[], None]


@pytest.fixture
def work(app: APIFlask) -> Work:
    """Run queued imports as a worker would."""

    def run() -> None:
        runner = Runner(
            {USAGE_IMPORT: UsageImporter(app.extensions["billtrack.storage"]).run}, worker_id="w"
        )
        db.session.rollback()
        for job_id in db.session.scalars(select(Job.id).where(Job.status == "queued")).all():
            with app.app_context():
                runner.run(job_id)
        db.session.rollback()

    return run


def send(visitor: Visitor, content: bytes, name: str = "usage.csv", **pressed: str) -> TestResponse:
    values = visitor.open("/usage/imports").values("/usage/imports")
    data = {**values, **pressed, "file": (io.BytesIO(content), name)}
    return visitor.client.post("/usage/imports", data=data, content_type="multipart/form-data")


def lines(cast: Cast, *quantities: object) -> bytes:
    rows = [f"{cast.customer.id},api_calls,{quantity},{AT},=1\n" for quantity in quantities]
    return (HEADER + "".join(rows)).encode()


def figures(page: Page) -> tuple[int, int, int]:
    """Return how many lines the page says were added, known before and refused."""
    added = "Would be added" if "Would be added" in page.text else "Added"
    counts = [int(page.figure(name)) for name in (added, "Known before", "Rejected")]
    return counts[0], counts[1], counts[2]


def stored() -> int:
    db.session.rollback()
    return db.session.scalars(select(func.count(UsageRecord.id))).one()


def press(visitor: Visitor, path: str, what: str) -> Page:
    """Press a button of the import's page and return where it leads."""
    page = visitor.send(visitor.open(path), f"{path}/{what}", {})
    assert page.location == path
    return visitor.open(path)


def test_a_file_is_taken_in_and_its_refused_lines_come_back(
    app: APIFlask, cast: Cast, work: Work
) -> None:
    visitor = Visitor(app, cast.provider)
    answer = send(visitor, lines(cast, 1, 2, 2, *["x"] * 30))
    assert answer.status_code == 303
    assert "0 lines read" in visitor.open(answer.location).text
    work()
    shown = visitor.open(answer.location)
    assert figures(shown) == (3, 0, 30)
    assert len(shown.table("Rejected lines")) == 25
    assert len(visitor.open(f"{answer.location}?after=29").table("Rejected lines")) == 5
    refused = visitor.client.get(f"{answer.location}/refused.csv").get_data()
    assert refused.count(b"Write a whole number") == 30
    mended = send(visitor, refused.replace(b",x,", b",7,")).location
    again = send(visitor, lines(cast, 1, 2, 2)).location
    work()
    assert figures(visitor.open(mended)) == (30, 0, 0)
    assert figures(visitor.open(again)) == (0, 3, 0)
    assert stored() == 33


def test_a_check_records_nothing_until_it_is_imported(
    app: APIFlask, cast: Cast, work: Work
) -> None:
    visitor = Visitor(app, cast.provider)
    path = send(visitor, gzip.compress(lines(cast, 1, 2, "x")), check="1").location
    work()
    assert figures(visitor.open(path)) == (2, 0, 1)
    assert stored() == 0
    assert "queued" in press(visitor, path, "start").text
    work()
    assert figures(visitor.open(path)) == (2, 0, 1)
    assert stored() == 2
    visitor.client.post(f"{path}/start", data=visitor.open(path).values("/sign-out"))
    assert "Send the file again" in visitor.open(path).text
    assert stored() == 2


def test_what_somebody_else_imported_is_only_checked_first(
    app: APIFlask, cast: Cast, work: Work
) -> None:
    send(Visitor(app, cast.provider), lines(cast, 1, 2))
    other_provider = Visitor(app, cast.other_provider)
    work()
    manager = Visitor(app, cast.manager)
    path = send(manager, lines(cast, 1, 2)).location
    work()
    assert stored() == 2
    assert "Provider imported the same file" in manager.open(path).text
    press(manager, path, "start")
    work()
    assert stored() == 4
    # A provider is not told what others have imported.
    path = send(other_provider, lines(cast, 1, 2)).location
    work()
    assert figures(other_provider.open(path)) == (2, 0, 0)


def test_a_cancelled_import_stays_as_it_is(app: APIFlask, cast: Cast, work: Work) -> None:
    visitor = Visitor(app, cast.provider)
    path = send(visitor, lines(cast, 1)).location
    assert "stopping" in press(visitor, path, "cancel").text
    work()
    shown = visitor.open(path)
    assert "What was added before stays" in shown.text
    assert "Go on" not in shown.text
    assert stored() == 0
    values = shown.values("/sign-out")
    for what in ("resume", "cancel", "start"):
        visitor.client.post(f"{path}/{what}", data=values)
        assert visitor.open(path).alerts != []
    work()
    assert stored() == 0


def test_a_failed_import_goes_on(app: APIFlask, cast: Cast, work: Work) -> None:
    visitor = Visitor(app, cast.provider)
    path = send(visitor, lines(cast, 1)).location
    with transaction() as session:
        session.execute(update(Job).values(status="failed", error="The disk was full."))
    assert "The disk was full." in visitor.open(path).text
    press(visitor, path, "resume")
    work()
    assert figures(visitor.open(path)) == (1, 0, 0)


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\0", b"user_id,event\n", b"\x1f\x8b\x08\0broken", None]
)
def test_what_is_no_usage_file_is_told_beside_the_field(
    app: APIFlask, cast: Cast, content: bytes | None
) -> None:
    visitor = Visitor(app, cast.provider)
    answer = send(visitor, content or b"", name="usage.csv" if content is not None else "")
    assert answer.status_code == 422
    assert b'id="file-error"' in answer.get_data()


def test_only_who_sent_it_and_managers_see_it(app: APIFlask, cast: Cast) -> None:
    path = send(Visitor(app, cast.provider), lines(cast, 1)).location
    for member, status in (
        (cast.provider, 200),
        (cast.manager, 200),
        (cast.admin, 200),
        (cast.other_provider, 404),
        (cast.customer, 403),
        (cast.stranger, 403),
    ):
        assert {get(app, member, path), get(app, member, f"{path}/refused.csv")} == {status}
    assert "No imports yet" in Visitor(app, cast.other_provider).open("/usage/imports").text


def get(app: APIFlask, member: Member, path: str) -> int:
    return Visitor(app, member).client.get(path).status_code
