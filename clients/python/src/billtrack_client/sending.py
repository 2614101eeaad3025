"""Send batches until the server has answered for every record."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from billtrack_client.transport import NoAnswer, Reply, Transport

log = logging.getLogger("billtrack_client")

FIRST_WAIT = 0.25
LONGEST_RETRY_AFTER = 300.0
SLICE = 1.0
OK = 200
NOT_AS_A_WHOLE = frozenset({400, 413, 422})
"""Answers to what was sent, not to who sent it or when: a part of it may be fine."""


class Refuse(Protocol):
    """Takes a record that the server refuses, with the server's code and words."""

    def __call__(self, line: bytes, *, code: str, detail: str) -> None:
        """Keep it, or tell of it."""


class Sender:
    """Delivers batches over a transport, waiting longer after each failure.

    `meanwhile` is called every second of such a pause.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        refuse: Refuse,
        stop: threading.Event,
        meanwhile: Callable[[], None],
        longest_wait: float,
    ) -> None:
        self._transport = transport
        self._refuse = refuse
        self._stop = stop
        self._meanwhile = meanwhile
        self._hurry = threading.Event()
        self._longest_wait = longest_wait
        self._failures = 0

    def deliver(self, lines: Sequence[bytes]) -> bool:
        """Send the lines and hand on what is refused; False if it was stopped before the end."""
        batches = [lines] if lines else []
        while batches:
            batch = batches.pop()
            reply = self._until_answered(batch)
            if reply is None:
                return False
            if reply.status == OK:
                self._hand_on(batch, reply.body["results"])
            elif len(batch) > 1:  # one of them may be what is wrong
                half = len(batch) // 2
                batches += [batch[half:], batch[:half]]
            else:
                self._refuse(batch[0], **_reason(reply))
        return True

    def hurry(self) -> None:
        """End the pause that it is in, or the next, unless the server has asked for it."""
        self._hurry.set()

    def _until_answered(self, batch: Sequence[bytes]) -> Reply | None:
        """Return an answer that counts; None if stopped. The keys stay the same throughout."""
        while not self._stop.is_set():
            retry_after = None
            try:
                reply = self._transport.post(batch)
            except NoAnswer as error:
                problem = str(error)
            else:
                if _answers_for_all(reply, len(batch)) or _refuses(reply, len(batch)):
                    self._recovered()
                    return reply
                retry_after = reply.retry_after
                problem = f"{reply.status} {_reason(reply)}"
            self._wait(problem, retry_after)
        return None

    def _wait(self, problem: str, retry_after: float | None) -> None:
        if self._failures == 0:
            log.warning("billtrack takes no usage, which waits here: %s", problem)
        longest = min(self._longest_wait, FIRST_WAIT * 2 ** min(self._failures, 20))
        # Many clients must not come back at the same moment.
        seconds = random.uniform(longest / 2, longest)  # noqa: S311  (no secret)
        self._failures += 1
        if retry_after is not None:
            seconds = max(seconds, min(retry_after, LONGEST_RETRY_AFTER))
        self._pause(seconds, may_hurry=retry_after is None)

    def _pause(self, seconds: float, *, may_hurry: bool) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stop.is_set():
            if may_hurry and self._hurry.is_set():
                break
            self._meanwhile()
            self._stop.wait(min(left, SLICE))
        self._hurry.clear()

    def _recovered(self) -> None:
        if self._failures:
            log.warning("billtrack takes usage again, after %d attempts", self._failures)
        self._failures = 0

    def _hand_on(self, batch: Sequence[bytes], results: Sequence[Any]) -> None:
        for result in results:
            if result["status"] in {"rejected", "conflict"}:
                code, detail = str(result["code"]), str(result["detail"])
                self._refuse(batch[result["index"]], code=code, detail=detail)


def _answers_for_all(reply: Reply, count: int) -> bool:
    """Tell whether this is billtrack's answer for so many records, not some proxy's page."""
    if reply.status != OK or not isinstance(reply.body, dict):
        return False
    counts = [reply.body.get(name) for name in ("accepted", "duplicate", "conflict", "rejected")]
    problems = reply.body.get("results")
    if not all(isinstance(number, int) for number in counts) or not isinstance(problems, list):
        return False
    return bool(sum(number for number in counts if number) == count)


def _refuses(reply: Reply, count: int) -> bool:
    """Tell whether sending the same again is in vain: for one record only billtrack can say."""
    is_ours = isinstance(reply.body, dict) and "code" in reply.body
    return reply.status in NOT_AS_A_WHOLE and (count > 1 or is_ours)


def _reason(reply: Reply) -> dict[str, str]:
    said = reply.body if isinstance(reply.body, dict) else {}
    code = str(said.get("code", f"http_{reply.status}"))
    return {"code": code, "detail": str(said.get("detail", "The server refused the record."))}
