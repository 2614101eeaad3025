"""Unbound extensions; `billtrack.entrypoints.app.create_app` binds them, nobody else."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from typing import Any, TypeVar

from flask import current_app
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from flask_wtf.csrf import CSRFProtect
from huey import Huey, RedisExpireHuey, SqliteHuey
from huey.serializer import SignedSerializer
from redis import ConnectionPool
from sqlalchemy import Connection, Engine, MetaData

from billtrack.core.periods import BillingCalendar
from billtrack.platform.config import Settings

T = TypeVar("T")
R = TypeVar("R")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
REPLICA = "replica"
READS_FROM = "billtrack_reads_from"
"""What a session's `info` calls the engine that it reads from in place of the primary."""


class RoutedSession(Session):
    """Reads from where the request has been sent: see `billtrack.platform.replica`."""

    def get_bind(
        self, mapper: Any = None, clause: Any = None, bind: Any = None, **options: Any
    ) -> Engine | Connection:
        """Return the replica if it may be read now, else the primary."""
        if bind is None and READS_FROM in self.info:
            replica: Engine = self.info[READS_FROM]
            return replica
        return super().get_bind(mapper, clause, bind, **options)


db = SQLAlchemy(
    metadata=metadata, session_options={"expire_on_commit": False, "class_": RoutedSession}
)
migrate = Migrate()
csrf = CSRFProtect()


def make_huey(settings: Settings) -> Huey:
    """Return the queue of this installation: Redis where it is set, else a file of its own.

    Messages are signed: whoever can write to the queue but lacks the secret runs nothing.
    Installations that share a Redis have queues of their own, named after their secrets;
    in one queue, each worker would swallow the numbers of the other's jobs.
    """
    if settings.secret_key is None:
        raise RuntimeError("load_settings() provides the secret key")
    secret = settings.secret_key.get_secret_value()
    serializer = SignedSerializer(secret=secret, salt="billtrack.queue")
    if settings.redis_url is None:
        return SqliteHuey(
            "billtrack", filename=str(settings.queue_file), serializer=serializer, timeout=10
        )
    pool = ConnectionPool.from_url(
        settings.redis_url.get_secret_value(), socket_connect_timeout=3, socket_timeout=10
    )
    return RedisExpireHuey(
        f"billtrack.{installation_mark(settings)}",
        connection_pool=pool,
        serializer=serializer,
        expire_time=3600,
    )


def installation_mark(settings: Settings) -> str:
    """Return what tells this installation from others on the same Redis, made of its secret."""
    if settings.secret_key is None:
        raise RuntimeError("load_settings() provides the secret key")
    secret = settings.secret_key.get_secret_value().encode()
    return blake2b(secret, person=b"billtrack.queue", digest_size=8).hexdigest()


def current_settings() -> Settings:
    """Return the settings that the running app was made with."""
    settings: Settings = current_app.extensions["billtrack.settings"]
    return settings


def current_calendar() -> BillingCalendar:
    """Return the billing calendar of this installation."""
    return calendar_of(current_settings())


def calendar_of(settings: Settings) -> BillingCalendar:
    """Return the billing calendar of these settings."""
    return _calendar_in(settings.timezone)


_calendar_in = cache(BillingCalendar)
