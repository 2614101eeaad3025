"""Browser of a signed-in sender, with the token that forms need."""

from __future__ import annotations

import io
from collections.abc import Mapping

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from billtrack.accounts.access import SESSION_COOKIE_KEY
from tests.cast import csrf_token
from tests.conformance.people import Source
from tests.conformance.world import World
from tests.dashboard.page import Page, create_session


class Browser:
    """A browser in which the sender is signed in."""

    def __init__(self, world: World, source: Source) -> None:
        self._world = world
        self._client: FlaskClient = world.app.test_client()
        token = create_session(source.sender)
        with self._client.session_transaction() as cookie:
            cookie[SESSION_COOKIE_KEY] = token

    def open(self, path: str) -> Page:
        with self._world.app.app_context():
            return Page(self._client.get(path), path)

    def send(self, path: str, typed: Mapping[str, str], token: str) -> TestResponse:
        """Send a form with these fields."""
        with self._world.app.app_context():
            return self._client.post(path, data={**typed, "csrf_token": token})

    def upload(self, path: str, content: bytes, token: str) -> TestResponse:
        data = {"csrf_token": token, "file": (io.BytesIO(content), "usage.csv")}
        with self._world.app.app_context():
            return self._client.post(path, data=data, content_type="multipart/form-data")

    def token(self, path: str) -> str:
        """Return the token of the first form of a page."""
        return csrf_token(self.open(path).answer)
