"""A manager's browser without a network: what the server takes for a whole page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from flask import current_app

from billtrack.accounts.access import SESSION_COOKIE_KEY
from billtrack.accounts.sign_in.sessions import start_session
from billtrack.accounts.users.passwords import hash_password
from billtrack.accounts.users.permissions import Role
from billtrack.billing.customers import open_account
from billtrack.platform import audit
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar

PASSWORD = "a password of the bench alone"


def open_browser(*, now: datetime) -> Callable[[str], None]:
    """Return a function that gets a page as a manager, from cookie to the last byte of HTML."""
    password = hash_password(PASSWORD)
    with transaction():
        user = open_account(
            actor=audit.Actor(),
            now=now,
            calendar=current_calendar(),
            email="manager@bench.example",
            name="Manager",
            role=Role.MANAGER,
            password=password,
        )
        token = start_session(user, now=now, address=None, user_agent=None)
    client = current_app.test_client()
    with client.session_transaction() as cookie:
        cookie[SESSION_COOKIE_KEY] = token

    def get(path: str) -> None:
        answer = client.get(path, buffered=True)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status}")

    return get
