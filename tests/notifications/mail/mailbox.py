"""What the accounts of a test get by mail: a worker's jobs, and letters in the folder."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from urllib.parse import urlsplit

from flask import Flask
from sqlalchemy import select

from billtrack.accounts.sign_in.password_recovery import PASSWORD_REQUEST, answer_request
from billtrack.notifications.mail.operations import LETTER
from billtrack.notifications.mail.sending import LetterSender
from billtrack.notifications.mail.transport import Folder
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Runner
from tests.notifications.mail.post_office import links_in


def deliver(app: Flask) -> list[EmailMessage]:
    """Run what waits until nothing does, and return all letters so far, the oldest first."""
    folder = app.extensions["billtrack.notifications.mail"]
    assert isinstance(folder, Folder)
    handlers = {LETTER: LetterSender(folder).send, PASSWORD_REQUEST: answer_request}
    runner = Runner(handlers, worker_id="test")
    query = select(Job.id).where(Job.status == "queued")
    with app.app_context():
        while waiting := db.session.scalars(query).all():
            for job_id in waiting:
                runner.run(job_id)
            db.session.rollback()
    return [_read(path.read_bytes()) for path in sorted(folder.path.glob("*.eml"))]


def link_in(letter: EmailMessage) -> str:
    """Return path and query of the link in the letter."""
    (link,) = links_in(letter)
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"


def text_in(letter: EmailMessage) -> str:
    """Return the letter as text, with single spaces."""
    body = letter.get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


def _read(content: bytes) -> EmailMessage:
    letter = message_from_bytes(content, policy=default)
    assert isinstance(letter, EmailMessage)
    return letter
