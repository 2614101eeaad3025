"""The database: declarative base, exact column types and the one way to write.

`transaction()` is the only place that commits. Outside it a session reads a
snapshot and refuses writes, so that no page changes anything by accident.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar, cast

import structlog
from sqlalchemy import (
    JSON,
    BigInteger,
    CursorResult,
    DateTime,
    Dialect,
    Integer,
    Numeric,
    Result,
    String,
    event,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import (
    DeclarativeBase,
    ORMExecuteState,
    Session,
    SessionTransaction,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

from billtrack.core.money import format_exact
from billtrack.platform.engines import POSTGRESQL_WRITES, WRITES, sqlite_errors
from billtrack.platform.extensions import READS_FROM, db, metadata

BigId = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit key; plain INTEGER on SQLite, where only that can number itself."""

JsonObject = JSON().with_variant(JSONB(), "postgresql")

log = structlog.get_logger(__name__)

T = TypeVar("T")

_PROMISED = "billtrack_promised"
_HAS_WRITTEN = "billtrack_has_written"


@dataclass(slots=True)
class _Promised:
    """What is to happen at the end of a transaction, and how much of it at each savepoint."""

    writes: list[tuple[Callable[[list[Any]], None], Any]] = field(default_factory=list)
    callbacks: list[Callable[[], None]] = field(default_factory=list)
    savepoints: dict[SessionTransaction, tuple[int, int]] = field(default_factory=dict)


class Base(DeclarativeBase):
    """The base of every model; `db.Model` is never used."""

    metadata = metadata


class UTCDateTime(TypeDecorator[datetime]):
    """An aware instant in UTC; naive values are refused in both directions."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store the instant as UTC; raises ValueError for a naive value."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored instant needs a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the instant as aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ExactDecimal(TypeDecorator[Decimal]):
    """An exact decimal with at most 12 places: NUMERIC, but text on SQLite, which rounds."""

    impl = Numeric(38, 12)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the storage that keeps every digit on this database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(40))
        return dialect.type_descriptor(Numeric(38, 12))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Store plain digits, never an exponent."""
        if value is None or dialect.name != "sqlite":
            return value
        return f"{value:f}"

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return the decimal as it was stored."""
        return None if value is None else Decimal(value)


def exact_decimal(amount: Fraction) -> Decimal:
    """Return the amount as a decimal to store; raises ValueError when 12 places are too few."""
    if (amount * 10**12).denominator != 1:
        raise ValueError(f"{amount} has more than 12 decimal places")
    return Decimal(format_exact(amount))


@contextmanager
def transaction() -> Iterator[Session]:
    """Run the block as one write: all of it is stored, or nothing.

    Ends the session's read snapshot first, so what is to be changed must be loaded again
    inside; from then on the session reads the primary. Transactions do not nest. What was given
    to `before_commit` is written last; callbacks of `after_commit` run once it is stored.
    """
    session = db.session()
    if WRITES in session.info:
        raise RuntimeError("transactions do not nest")
    session.rollback()
    # What the transaction before left loaded would be taken for what is stored now.
    session.expire_all()
    session.info.pop(READS_FROM, None)
    session.info[WRITES] = session.info[_HAS_WRITTEN] = True
    promised = session.info[_PROMISED] = _Promised()
    try:
        session.connection(execution_options=_write_options(session))
        yield session
        _write_last(session, promised)
        session.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        del session.info[WRITES], session.info[_PROMISED]
    for callback in promised.callbacks:
        callback()


@contextmanager
def driver_transaction() -> Iterator[sqlite3.Connection]:
    """Run the block as one write by SQLite's own driver: all of it is stored, or nothing.

    Beside the session, whose read snapshot ends first. What the driver raises leaves the block as
    SQLAlchemy's error.
    """
    end_read()
    with sqlite_errors(db.engine), closing(db.engine.raw_connection()) as pooled:
        driver = cast("sqlite3.Connection", pooled.driver_connection)
        driver.execute("BEGIN IMMEDIATE")
        try:
            yield driver
            db.engine.dialect.do_commit(pooled)
        except BaseException:
            driver.rollback()
            raise


def _write_last(session: Session, promised: _Promised) -> None:
    session.flush()
    together: dict[Callable[[list[Any]], None], list[Any]] = {}
    for write, item in promised.writes:
        together.setdefault(write, []).append(item)
    for write, items in together.items():
        write(items)


def _write_options(session: Session) -> dict[str, Any]:
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    return {WRITES: True, **(POSTGRESQL_WRITES if is_postgresql else {})}


def before_commit(write: Callable[[list[T]], None], item: T) -> None:
    """Write the item last in the current transaction: all that `write` is given, in one call.

    For what others wait for from then on until the commit. An item whose savepoint is rolled
    back is not written.
    """
    _promised("before_commit").writes.append((write, item))


def after_commit(callback: Callable[[], None]) -> None:
    """Run the callback once the current transaction is stored; not at all if it is not.

    Nor if the savepoint is rolled back in which it was given.
    """
    _promised("after_commit").callbacks.append(callback)


def _promised(caller: str) -> _Promised:
    found: _Promised | None = db.session().info.get(_PROMISED)
    if found is None:
        raise RuntimeError(f"{caller}() belongs inside transaction()")
    return found


def has_written() -> bool:
    """Tell whether this session writes or has written: others may not have it yet."""
    return _HAS_WRITTEN in db.session().info


def database_now() -> datetime:
    """Return the instant by the clock that every process shares: the database's, in UTC.

    For what several machines compare, such as leases; one of them may be set wrong. SQLite
    has no clock of its own, and one machine.
    """
    if db.session.get_bind().dialect.name != "postgresql":
        return datetime.now(UTC)
    told: datetime = db.session.scalars(select(func.clock_timestamp())).one()
    return told.astimezone(UTC)


def row_count(result: Result[Any]) -> int:
    """Return how many rows an UPDATE or DELETE hit."""
    return cast("CursorResult[Any]", result).rowcount


def end_read() -> None:
    """Let go of the read snapshot and its connection, before long work without a database."""
    db.session.rollback()


def release_session(_error: BaseException | None) -> None:
    """Let go of the connection at the end of a request or job.

    One that was lost meanwhile is thrown away: what was answered is stored, and must not be
    turned into an error because the snapshot that was read from last cannot be ended.
    """
    try:
        db.session.remove()
    except OperationalError as error:
        log.warning("database_unavailable", error=str(error))
        db.session().invalidate()


@event.listens_for(Session, "before_flush")
def _refuse_flush(session: Session, _context: Any, _instances: Any) -> None:
    if WRITES not in session.info:
        raise RuntimeError("writes belong inside transaction()")


@event.listens_for(Session, "do_orm_execute")
def _refuse_statement(state: ORMExecuteState) -> None:
    writes = state.is_insert or state.is_update or state.is_delete
    if writes and WRITES not in state.session.info:
        raise RuntimeError("writes belong inside transaction()")


@event.listens_for(Session, "after_transaction_create")
def _mark_savepoint(session: Session, begun: SessionTransaction) -> None:
    promised: _Promised | None = session.info.get(_PROMISED)
    if promised is not None and begun.nested:
        promised.savepoints[begun] = (len(promised.writes), len(promised.callbacks))


@event.listens_for(Session, "after_soft_rollback")
def _forget_undone(session: Session, undone: SessionTransaction) -> None:
    promised: _Promised | None = session.info.get(_PROMISED)
    if promised is not None and undone in promised.savepoints:
        writes, callbacks = promised.savepoints[undone]
        del promised.writes[writes:], promised.callbacks[callbacks:]
