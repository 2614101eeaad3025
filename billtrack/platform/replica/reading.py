"""Read from a replica what may be seconds old.

A face says so by `@may_be_old` on a view; a contract test lists all of these. Whatever else is
read comes from the primary: credentials, permissions, keys, jobs, single records, statements.
Reports are made from the replica once it has all that the primary has.

A request that writes reads the primary from then on, and so does its browser for some seconds.
While the replica is away or too far behind, everything reads the primary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import structlog
from flask import Flask, Response, current_app, has_request_context, request
from sqlalchemy.exc import DBAPIError, OperationalError

from billtrack.platform.db import end_read, has_written
from billtrack.platform.engines import ran_out_of_time
from billtrack.platform.extensions import READS_FROM, REPLICA, db
from billtrack.platform.replica.lag import MAX_LAG, Replica, ReplicaState

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger(__name__)

COOKIE = "billtrack_wrote"
COOKIE_SECONDS = int(MAX_LAG) + 5
MAY_BE_OLD = "billtrack_may_be_old"
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


def init_app(app: Flask) -> None:
    """Take the replica into use; needs an app context."""
    app.extensions[REPLICA] = Replica(db.engines[REPLICA])
    app.after_request(_remember_write)


def may_be_old(view: Callable[P, R]) -> Callable[P, R]:
    """Let a view that only reads do so from the replica: what it shows may be seconds old.

    What the replica breaks off, such as a snapshot in the way of its replay, is read once more
    from the primary. Belongs below `require`, which reads the primary.
    """

    @wraps(view)
    def reading(*args: P.args, **kwargs: P.kwargs) -> R:
        prefer_replica()
        return _read_again_if_broken(lambda: view(*args, **kwargs))

    setattr(reading, MAY_BE_OLD, True)
    return reading


def prefer_replica() -> None:
    """Read from the replica from here on, if it may be read: until the session ends or writes.

    For what is read while an answer is sent, when the session of its view has ended.
    """
    session, replica = db.session(), _find_replica()
    if replica is None or READS_FROM in session.info or _shows_own_write():
        return
    if replica.is_fresh(session):
        _turn_to(replica)


def read_all_stored(read: Callable[[], R]) -> R:
    """Read from the replica once it has all that is stored now, else from the primary.

    For jobs, whatever they have written before. Ends the snapshot that was read so far.
    """
    replica = _find_replica()
    end_read()  # its position is asked for outside of any older snapshot
    if replica is not None and replica.catches_up(db.session()):
        _turn_to(replica)
    return _read_again_if_broken(read)


def return_to_primary() -> None:
    """Read from the primary again, whatever was read from before; ends what was read so far."""
    end_read()
    db.session().info.pop(READS_FROM, None)


def leave_replica(error: DBAPIError) -> bool:
    """Go on with the primary if the replica broke off; tell whether it was the replica."""
    session = db.session()
    is_broken = isinstance(error, OperationalError) or error.connection_invalidated
    if READS_FROM not in session.info or not is_broken or ran_out_of_time(error):
        return False
    end_read()
    del session.info[READS_FROM]
    if _is_conflict(error):
        log.info("replica_conflict", error=str(error.orig))
    elif (replica := _find_replica()) is not None:
        replica.lose(error)
    return True


def find_replica_state() -> ReplicaState | None:
    """Return how the replica is, None without one; raises DBAPIError or NotReplicated."""
    replica = _find_replica()
    return None if replica is None else replica.get_state(db.session())


def _turn_to(replica: Replica) -> None:
    end_read()
    db.session().info[READS_FROM] = replica.engine


def _read_again_if_broken(read: Callable[[], R]) -> R:
    try:
        return read()
    except DBAPIError as error:
        if not leave_replica(error):
            raise
    return read()


def _find_replica() -> Replica | None:
    found: Replica | None = current_app.extensions.get(REPLICA)
    return found


def _shows_own_write() -> bool:
    return has_written() or (has_request_context() and COOKIE in request.cookies)


def _is_conflict(error: DBAPIError) -> bool:
    # What is replayed removes rows that the snapshot still needs: serialization_failure.
    return getattr(error.orig, "sqlstate", "") == "40001" and not error.connection_invalidated


def _remember_write(response: Response) -> Response:
    """Have a browser that has sent a form read the primary until the replica has it, too."""
    if request.method not in SAFE_METHODS and not request.path.startswith("/api/"):
        response.set_cookie(
            COOKIE,
            "1",
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="Lax",
            secure=current_app.config["SESSION_COOKIE_SECURE"],
        )
    return response
