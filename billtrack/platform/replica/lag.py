"""How far behind the primary a replica is, and whether it may be read."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from threading import Lock

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billtrack.core.errors import UnavailableError

log = structlog.get_logger(__name__)

MAX_LAG = 10.0
"""Seconds: nothing older is read from the replica."""

LOOK_SECONDS = 2.5
"""How often it is asked how far it is: several times within MAX_LAG."""

CATCH_UP_SECONDS = 2.0
TRY_AGAIN_SECONDS = 5.0
NEVER = float("-inf")

_POSITION = """
SELECT system_identifier, current_database(), pg_wal_lsn_diff({lsn}, '0/0')::bigint
FROM pg_control_system()
"""
_WRITTEN = text(_POSITION.format(lsn="pg_current_wal_insert_lsn()"))
# None for a server that follows nobody, or no longer does.
_REPLAYED = text(
    _POSITION.format(lsn="CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END")
)
_STATE = text("""
SELECT EXISTS (SELECT FROM pg_stat_wal_receiver),
       coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)::bigint
""")


class NotReplicated(UnavailableError):
    """What DATABASE_REPLICA_URL names does not follow the primary."""

    code = "not_replicated"

    def __init__(self) -> None:
        super().__init__("DATABASE_REPLICA_URL names no replica of the database of DATABASE_URL.")


@dataclass(frozen=True, slots=True)
class Position:
    """How far a server's log has come, in bytes, and whose log it is."""

    cluster: int
    database: str
    bytes: int | None


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """Whether the replica receives what the primary writes, and how far behind it is."""

    streams: bool
    bytes_behind: int
    seconds_behind: int


class Replica:
    """What one process knows of the replica.

    It is asked while a request waits, by one thread at a time, every few seconds. What the
    primary had written at an earlier look and the replica has replayed at this one tells how
    old it is at most: by one clock, and rightly for a primary that nobody writes to.
    """

    def __init__(self, engine: Engine, *, max_lag: float = MAX_LAG) -> None:
        self.engine = engine
        self.max_lag = max_lag
        self._marks: deque[tuple[float, int]] = deque()
        self._fresh_at = NEVER
        self._look_at = NEVER
        self._lock = Lock()
        self._is_used: bool | None = None

    def is_fresh(self, session: Session) -> bool:
        """Tell whether it has all that the primary had `max_lag` seconds ago.

        The session reads the primary.
        """
        if time.monotonic() >= self._look_at and self._lock.acquire(blocking=False):
            try:
                self._look(session)
            finally:
                self._lock.release()
        is_fresh = time.monotonic() - self._fresh_at <= self.max_lag
        self._tell(is_used=is_fresh, reason=f"more than {self.max_lag:g} seconds behind")
        return is_fresh

    def catches_up(self, session: Session) -> bool:
        """Wait until it has all that the primary has now; False when that takes too long."""
        if self._fresh_at == NEVER and time.monotonic() < self._look_at:
            return False  # it was lost just now
        wanted = _written(session)
        deadline = time.monotonic() + CATCH_UP_SECONDS
        try:
            while self._bytes_behind(wanted):
                if time.monotonic() > deadline:
                    self.lose(f"does not catch up within {CATCH_UP_SECONDS:g} seconds")
                    return False
                time.sleep(0.02)
        except (DBAPIError, NotReplicated) as error:
            self.lose(error)
            return False
        self._tell(is_used=True)
        return True

    def lose(self, reason: object) -> None:
        """Leave it alone for some seconds."""
        self._fresh_at = NEVER
        self._look_at = time.monotonic() + TRY_AGAIN_SECONDS
        self._tell(is_used=False, reason=reason)

    def get_state(self, session: Session) -> ReplicaState:
        """Return how it is now; raises DBAPIError or NotReplicated."""
        behind = self._bytes_behind(_written(session))
        with self.engine.connect() as connection:
            streams, seconds = connection.execute(_STATE).one()
        return ReplicaState(streams, behind, seconds if behind else 0)

    def _look(self, session: Session) -> None:
        now = time.monotonic()
        self._look_at = now + LOOK_SECONDS
        written = _written(session)
        try:
            behind = self._bytes_behind(written)
        except (DBAPIError, NotReplicated) as error:
            self.lose(error)
            return
        replayed = (written.bytes or 0) - behind
        self._marks.append((now, written.bytes or 0))
        while self._marks[0][0] < now - self.max_lag:
            self._marks.popleft()
        reached = [at for at, position in self._marks if position <= replayed]
        self._fresh_at = max(reached, default=self._fresh_at)

    def _bytes_behind(self, written: Position) -> int:
        with self.engine.connect() as connection:
            replayed = Position(*connection.execute(_REPLAYED).one())
        mine, theirs = (written.cluster, written.database), (replayed.cluster, replayed.database)
        if replayed.bytes is None or written.bytes is None or mine != theirs:
            raise NotReplicated
        return max(0, written.bytes - replayed.bytes)

    def _tell(self, *, is_used: bool, reason: object = None) -> None:
        """Log when reading moves to the replica or away from it, and nothing in between."""
        if is_used is self._is_used:
            return
        self._is_used = is_used
        if is_used:
            log.info("replica_used")
        else:
            log.warning("replica_unused", reason=str(reason))


def _written(session: Session) -> Position:
    return Position(*session.execute(_WRITTEN).one())
