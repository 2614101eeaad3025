"""A letter outlives its worker and its mail server; a second one could be told by its id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from billtrack.notifications import mail
from billtrack.notifications.mail.models import Letter
from billtrack.notifications.mail.operations import Recipient
from billtrack.notifications.mail.secrets import new_seed
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from tests.cast import SYSTEM, create_user
from tests.notifications.mail.post_office import PostOffice
from tests.scenarios.harness import Installation, eventually
from tests.scenarios.jobs import let_leases_run_out


def test_it_arrives_after_kill_9_of_the_worker_and_a_server_that_was_away(
    installation: Installation,
) -> None:
    office = PostOffice()
    installation.environment["BILLTRACK_SMTP_URL"] = f"smtp://127.0.0.1:{office.port}"
    installation.environment["BILLTRACK_MAIL_FROM"] = "billtrack <billtrack@test.example>"
    message_id = queue(installation)
    with office:
        office.holds = True
        with installation.start("worker") as worker:
            assert office.met.wait(60), worker.text
            worker.kill9()
    let_leases_run_out(installation)
    office.holds = False
    with installation.start("worker") as worker:
        worker.wait_for("letter_waits")
        with office:
            let_the_pause_pass(installation)
            eventually(lambda: is_sent(installation), lambda: worker.text)
            assert [letter["Message-ID"] for letter in office.letters] == [message_id]
        assert "token=" not in worker.text


def queue(installation: Installation) -> str:
    now = datetime.now(UTC)
    with installation.inside():
        user = create_user(email="eve@test.example")
        with transaction():
            letter = mail.queue(
                "invitation",
                actor=SYSTEM,
                now=now,
                to=Recipient(user.id, user.email, user.name),
                context={"inviter": "Ada", "lifetime": "7 days"},
                seed=new_seed(),
                expires_at=now + timedelta(days=7),
            )
            return letter.message_id


def let_the_pause_pass(installation: Installation) -> None:
    with installation.inside(), transaction() as session:
        for job in session.scalars(select(Job).where(Job.due_at.is_not(None))):
            job.due_at = datetime.now(UTC) - timedelta(seconds=1)


def is_sent(installation: Installation) -> bool:
    with installation.inside():
        db.session.rollback()
        return db.session.scalars(select(Letter.sent_at)).one() is not None
