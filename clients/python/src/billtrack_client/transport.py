"""One connection to the server, over which batches are sent."""

from __future__ import annotations

import codecs
import gzip
import http.client
import json
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from billtrack_client.version import USER_AGENT

PATH = "/api/v1/usage/batch?results=problems"
GZIP_LEVEL = 6

# Looking up a host imports this when it is first done: a process that forks in just that
# moment would leave its child without it for ever.
codecs.lookup("idna")


class NoAnswer(Exception):
    """The server could not be reached, or what it said did not arrive whole."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered; `retry_after` are seconds."""

    status: int
    body: Any
    retry_after: float | None


class Transport:
    """Sends batches over a connection that is kept open. For one thread, but for `abort`."""

    def __init__(
        self, url: str, api_key: str, *, timeout: float, context: ssl.SSLContext | None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise ValueError(f"url must be such as https://billing.example.com, not {url!r}")
        self._host, self._port, self._is_tls = parts.hostname, parts.port, parts.scheme == "https"
        self._path = parts.path.rstrip("/") + PATH
        self._timeout = timeout
        self._context = context
        self._connection: http.client.HTTPConnection | None = None
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "Accept": "application/json",
            "User-Agent": USER_AGENT,
        }

    def post(self, lines: Sequence[bytes]) -> Reply:
        """Send the records as one batch and return the answer; raises NoAnswer."""
        body = gzip.compress(
            b'{"records":[' + b",".join(lines) + b"]}", compresslevel=GZIP_LEVEL, mtime=0
        )
        was_open = self._connection is not None
        try:
            return self._exchange(body)
        except NoAnswer:
            if not was_open:
                raise
        # Servers close idle connections; that a new one fails too is what counts. Sending
        # twice is safe, as every record has its key.
        return self._exchange(body)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def abort(self) -> None:
        """End an exchange that another thread waits for."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it has just ended by itself

    def _exchange(self, body: bytes) -> Reply:
        connection = self._connection = self._connection or self._connect()
        try:
            connection.request("POST", self._path, body=body, headers=self._headers)
            answer = connection.getresponse()
            text = answer.read()
            wait = answer.headers.get("Retry-After")
            return Reply(answer.status, _parsed(text), _seconds(wait, answer.headers.get("Date")))
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(f"{type(error).__name__}: {error}") from error

    def _connect(self) -> http.client.HTTPConnection:
        if not self._is_tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        context = self._context or ssl.create_default_context()
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout, context=context
        )


def _parsed(text: bytes) -> Any:
    """Return the JSON of an answer, or None for what a proxy says in its own words."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _seconds(retry_after: str | None, date: str | None) -> float | None:
    """Return how long Retry-After asks to wait; a date counts by the server's own clock."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        until, now = parsedate_to_datetime(retry_after), parsedate_to_datetime(date or "")
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None
