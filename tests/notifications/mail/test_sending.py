"""A letter is sent after what causes it is stored; tried again for a while; given up in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apiflask import APIFlask
from sqlalchemy import select, text

from billtrack.core.errors import InvalidError
from billtrack.core.mail_servers import MailServer
from billtrack.notifications import mail
from billtrack.notifications.mail.models import Letter
from billtrack.notifications.mail.operations import LETTER, Recipient
from billtrack.notifications.mail.queries import read_outbox
from billtrack.notifications.mail.secrets import new_seed, secret_of
from billtrack.notifications.mail.sending import PAUSES, LetterSender
from billtrack.notifications.mail.transport import Folder, Smtp
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs import operations as jobs
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Run, Runner
from tests.cast import SYSTEM, create_user
from tests.notifications.mail.conftest import Deliver
from tests.notifications.mail.post_office import PostOffice, links_in

WEEK = timedelta(days=7)


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with PostOffice() as opened:
        yield opened


def smtp(office: PostOffice) -> Smtp:
    return Smtp(MailServer("127.0.0.1", office.port, "never"), hello="test.example")


def queue(*, expires_in: timedelta | None = WEEK) -> Letter:
    now = datetime.now(UTC)
    user = create_user(email="eve@test.example")
    with transaction():
        return mail.queue(
            "invitation",
            actor=SYSTEM,
            now=now,
            to=Recipient(user.id, user.email, "Eve"),
            context={"inviter": "Ada", "lifetime": "7 days"},
            seed=new_seed(),
            expires_at=now + expires_in if expires_in else None,
        )


def reload() -> tuple[Letter, Job]:
    db.session.rollback()
    db.session.expire_all()
    letter = db.session.scalars(select(Letter)).one()
    return letter, db.session.get_one(Job, letter.job_id)


def let_the_pause_pass() -> None:
    with transaction():
        _, job = db.session.scalars(select(Letter)).one(), db.session.scalars(select(Job)).one()
        assert job.due_at is not None
        job.due_at = datetime.now(UTC) - timedelta(seconds=1)


def test_it_is_sent_and_leaves_no_secret_behind(
    office: PostOffice, app: APIFlask, deliver: Deliver
) -> None:
    letter = queue()
    assert letter.seed is not None
    secret = secret_of(letter.seed)
    deliver(smtp(office))
    assert secret in links_in(office.letters[0])[0]
    sent, job = reload()
    assert (sent.seed, sent.failed_at, job.status, job.error) == (None, None, "completed", None)
    assert sent.sent_at is not None
    for table in ("letters", "jobs", "audit_entries", "audit_personal_values"):
        assert secret not in str(db.session.execute(text(f"SELECT * FROM {table}")).all())


def test_nothing_is_sent_when_its_cause_is_not_stored(
    office: PostOffice, app: APIFlask, deliver: Deliver
) -> None:
    user = create_user(email="eve@test.example")

    def fail_afterwards() -> None:
        with transaction():
            mail.queue(
                "invitation",
                actor=SYSTEM,
                now=datetime.now(UTC),
                to=Recipient(user.id, user.email, "Eve"),
                context={},
            )
            raise InvalidError("something else was wrong")

    with pytest.raises(InvalidError):
        fail_afterwards()
    deliver(smtp(office))
    assert office.letters == []
    assert db.session.scalar(select(Letter.id)) is None


def test_a_server_that_is_away_is_asked_again_later(app: APIFlask, deliver: Deliver) -> None:
    office = PostOffice()
    queue()
    deliver(smtp(office))
    letter, job = reload()
    assert (letter.attempts, letter.sent_at, job.status) == (1, None, "queued")
    assert letter.seed is not None
    assert job.due_at is not None
    assert timedelta() < job.due_at - datetime.now(UTC) <= PAUSES[0]
    assert f"127.0.0.1:{office.port} fails" in str(letter.error)
    assert read_outbox(now=datetime.now(UTC)).trouble == letter.error
    with office:
        deliver(smtp(office))  # too early
        assert office.letters == []
        let_the_pause_pass()
        deliver(smtp(office))
        assert len(office.letters) == 1
    letter, job = reload()
    assert (letter.error, job.status, job.error) == (None, "completed", None)
    assert read_outbox(now=datetime.now(UTC)).trouble is None


def test_it_is_given_up_after_the_last_pause(app: APIFlask, deliver: Deliver) -> None:
    away = smtp(PostOffice())
    queue(expires_in=None)
    for _ in PAUSES:
        deliver(away)
        let_the_pause_pass()
    deliver(away)
    letter, job = reload()
    assert (letter.seed, job.status) == (None, "failed")
    assert letter.failed_at is not None
    assert "given up. Have another one sent" in str(job.error)
    state = read_outbox(now=datetime.now(UTC))
    assert (state.waiting, state.trouble, state.failed) == (0, None, 1)


def test_a_refused_letter_is_given_up_at_once(
    office: PostOffice, app: APIFlask, deliver: Deliver
) -> None:
    office.to_recipient = "550 no such mailbox"
    queue()
    deliver(smtp(office))
    letter, job = reload()
    assert (letter.seed, letter.attempts, job.status) == (None, 0, "failed")
    assert "550 no such mailbox" in str(job.error)
    office.to_recipient = "250 taken"
    with transaction():
        jobs.retry(job, actor=SYSTEM, now=datetime.now(UTC))
    deliver(smtp(office))  # its link cannot be made any more
    assert office.letters == []
    assert reload()[1].status == "failed"


def test_a_link_that_would_arrive_too_late_is_not_sent(
    office: PostOffice, app: APIFlask, deliver: Deliver
) -> None:
    queue(expires_in=timedelta(seconds=-1))
    deliver(smtp(office))
    letter, job = reload()
    assert office.letters == []
    assert (letter.seed, job.status) == (None, "failed")


def test_a_letter_that_was_sent_is_not_sent_again(
    office: PostOffice, app: APIFlask, deliver: Deliver
) -> None:
    letter = queue()
    deliver(smtp(office))
    with transaction():  # the worker died before it could say so
        db.session.get_one(Job, letter.job_id).status = "queued"
    deliver(smtp(office))
    assert len(office.letters) == 1
    assert reload()[1].status == "completed"


def test_a_letter_that_was_taken_counts_as_sent_whoever_holds_the_job(
    office: PostOffice, app: APIFlask
) -> None:
    letter = queue()
    job_id = letter.job_id

    sender = LetterSender(smtp(office))

    def send_late(run: Run) -> Callable[[], None]:
        store = sender.send(run)
        with transaction():  # the lease ran out while the server took the letter
            jobs.requeue(run.job_id, run.attempt, now=datetime.now(UTC))
        return store

    with app.app_context():
        Runner({LETTER: send_late}, worker_id="late").run(job_id)
    with app.app_context():
        Runner({LETTER: sender.send}, worker_id="next").run(job_id)
    assert len(office.letters) == 1
    assert reload()[1].status == "completed"


def test_in_a_folder_it_is_one_file(app: APIFlask, deliver: Deliver) -> None:
    letter = queue()
    way = app.extensions["billtrack.notifications.mail"]
    assert isinstance(way, Folder)
    deliver(way)
    assert [file.name for file in way.path.iterdir()] == [f"{letter.id:06d}-invitation.eml"]


def test_no_log_carries_its_link(
    office: PostOffice,
    app: APIFlask,
    deliver: Deliver,
    logged: Callable[[], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", logger="mail.log")  # the mail server of the test
    office.to_letter = "451 no room"
    letter = queue()
    assert letter.seed is not None
    secret = secret_of(letter.seed)
    deliver(smtp(office))
    text = logged()
    assert "letter_waits" in text
    assert secret not in text
