"""Client: record usage now, have it sent in the background."""

from __future__ import annotations

import atexit
import logging
import os
import ssl
import uuid
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from billtrack_client.background import Background
from billtrack_client.limits import Limits
from billtrack_client.records import MetadataValue, encode
from billtrack_client.refusals import Refusals, Refused
from billtrack_client.spool import Spool
from billtrack_client.transport import Transport
from billtrack_client.waiting import Waiting

log = logging.getLogger("billtrack_client")

DEFAULTS = Limits()
EXIT_SECONDS = 5.0

_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client:
    """Takes records without waiting for the server, and sends them in batches.

    With a spool folder, what `record` has returned for is kept on the disk until the server
    has answered for it. Several processes may share the folder, if they record by the same
    account on the same server.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        spool: str | os.PathLike[str] | None = None,
        on_refused: Callable[[Refused], None] | None = None,
        limits: Limits = DEFAULTS,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Start sending, beginning with what the spool still holds.

        `on_refused` is told of each record that will not be stored: by the thread that sends,
        or by `record` where there is no room. Raises ValueError for wrong settings and OSError
        where the spool cannot be used.
        """
        if not api_key or not api_key.isascii() or not api_key.isprintable():
            raise ValueError("api_key must be a key such as bt_live_…")
        self._transport = Transport(url, api_key, timeout=limits.timeout, context=ssl_context)
        self._spool = Spool(Path(spool).absolute()) if spool is not None else None
        self._refusals = Refusals(self._spool.folder if self._spool else None, on_refused)
        self._limits = limits
        self._is_sent: bool | None = None  # until it is closed
        self._begin_anew()
        if self._spool is not None:
            self._waiting.add(self._spool.open())
            self._background.start()
        _clients.add(self)
        atexit.register(self.close, EXIT_SECONDS)

    def record(
        self,
        user_id: int,
        event: str,
        quantity: int,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        metadata: Mapping[str, MetadataValue] | None = None,
    ) -> str:
        """Keep a record to be sent, and return its idempotency key.

        The quantity is an integer in the base unit of the meter; `occurred_at` is now, unless
        given. Never waits for the server. Raises TypeError or ValueError for wrong arguments
        and RuntimeError after `close`, and nothing else.
        """
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        line = encode(
            user_id=user_id,
            event=event,
            quantity=quantity,
            # What is sent later still belongs to the moment at which it was used.
            occurred_at=datetime.now(UTC) if occurred_at is None else occurred_at,
            idempotency_key=key,
            metadata=metadata,
        )
        self._background.start()
        if not self._waiting.keep(line):
            self._refusals.tell_only(line, code="spool_full", detail="There is no room to keep it.")
        return key

    def flush(self, timeout: float | None = None) -> bool:
        """Send all that was recorded until now; tell whether all of it was answered in time."""
        number = self._waiting.close_current()
        self._background.hurry()
        return self._waiting.wait_until_done(number, timeout)

    def close(self, timeout: float | None = 10.0) -> bool:
        """Send what waits, as far as that is possible in time, and stop; tell if all is sent.

        What is not sent stays in the spool for the next client; without one it is refused
        with `not_sent`.
        """
        if self._is_sent is not None:
            return self._is_sent
        self._waiting.end()
        is_sent = self._is_sent = self.flush(timeout)
        self._background.stop()
        atexit.unregister(self.close)
        for line in self._waiting.leave():
            self._refusals.tell_only(line, code="not_sent", detail="Closed before it was sent.")
        if self._spool is not None:
            try:
                self._spool.close()
            except OSError as error:
                log.warning("the spool could not be tidied: %s", error)
        return is_sent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin_anew(self) -> None:
        """Start with nothing: at first, and in a forked child, whose parent sends the rest."""
        self._waiting = Waiting(self._spool, self._limits)
        self._background = Background(
            self._waiting,
            spool=self._spool,
            transport=self._transport,
            refusals=self._refusals,
            longest_wait=self._limits.longest_wait,
        )

    def _after_fork(self) -> None:
        if self._is_sent is not None:
            return
        self._waiting.release()
        if self._spool is not None:
            self._spool.forget()
        self._transport.close()
        self._begin_anew()


def _after_fork() -> None:
    """Leave to the parent what it has recorded; a child starts with nothing, when it records."""
    for client in _clients:
        client._after_fork()  # noqa: SLF001  (of the same module)


os.register_at_fork(after_in_child=_after_fork)
