"""The thread that sends what waits."""

from __future__ import annotations

import logging
import threading
import time

from billtrack_client.refusals import Refusals
from billtrack_client.segments import Segment
from billtrack_client.sending import Sender
from billtrack_client.spool import Spool
from billtrack_client.transport import Transport
from billtrack_client.waiting import Waiting, seal

log = logging.getLogger("billtrack_client")

LOOK_AGAIN = 30.0
"""Seconds after which it is looked again for what other clients left when they died."""
END_SECONDS = 5.0
AFTER_A_FAULT = 1.0


class Background:
    """Sends one segment after the other, from `start` to `stop`."""

    def __init__(
        self,
        waiting: Waiting,
        *,
        spool: Spool | None,
        transport: Transport,
        refusals: Refusals,
        longest_wait: float,
    ) -> None:
        self._waiting = waiting
        self._spool = spool
        self._transport = transport
        self._stop = threading.Event()
        self._sender = Sender(
            transport,
            refuse=refusals.keep,
            stop=self._stop,
            meanwhile=waiting.secure,
            longest_wait=longest_wait,
        )
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._looked_at = time.monotonic()

    def start(self) -> None:
        """Start the thread, unless it runs."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="billtrack-client", daemon=True
                )
                self._thread.start()

    def hurry(self) -> None:
        """Try again now, unless the server has asked to wait."""
        self._sender.hurry()

    def stop(self) -> None:
        """End the thread, cutting short what it waits for."""
        self._stop.set()
        self._waiting.stop()
        if self._thread is not None:
            self._transport.abort()
            self._thread.join(END_SECONDS)
        self._transport.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._send_next()
            except Exception:  # it is logged, and usage must go on being sent
                log.exception("sending usage failed in a way that was not expected")
                self._stop.wait(AFTER_A_FAULT)

    def _send_next(self) -> None:
        segment = self._waiting.next(LOOK_AGAIN)
        if segment is not None and self._send(segment):
            self._waiting.done()
        if self._spool is not None and self._spool.is_open:
            self._spool.tidy()
            if time.monotonic() - self._looked_at >= LOOK_AGAIN:
                self._looked_at = time.monotonic()
                self._waiting.add(self._spool.adopt())

    def _send(self, segment: Segment) -> bool:
        """Tell whether all of the segment is answered for, or cannot be read."""
        seal(segment)
        try:
            lines = segment.lines()
        except OSError:
            # The file stays, and the next client tries again.
            log.exception("a segment of the spool cannot be read and is left")
            return True
        if not self._sender.deliver(lines):
            return False
        _discard(segment)
        return True


def _discard(segment: Segment) -> None:
    try:
        segment.discard()
    except OSError as error:
        # It is sent again by the next client, and counts once all the same.
        log.warning("a segment of the spool that was sent cannot be removed: %s", error)
