"""A worker that sends letters, inside the test process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from apiflask import APIFlask
from sqlalchemy import select

from billtrack.notifications.mail.operations import LETTER
from billtrack.notifications.mail.sending import LetterSender
from billtrack.notifications.mail.transport import Transport
from billtrack.platform.extensions import db
from billtrack.platform.jobs import operations
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Runner

Deliver = Callable[[Transport], None]


@pytest.fixture(autouse=True)
def _no_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens here."""
    monkeypatch.setattr(operations, "ring", lambda job_id: None)


@pytest.fixture
def deliver(app: APIFlask) -> Deliver:
    """Run the job of every letter that waits, by this transport."""

    def run(transport: Transport) -> None:
        runner = Runner({LETTER: LetterSender(transport).send}, worker_id="test")
        db.session.rollback()
        for job_id in db.session.scalars(select(Job.id).where(Job.status == "queued")).all():
            with app.app_context():
                runner.run(job_id)
        db.session.rollback()

    return run
