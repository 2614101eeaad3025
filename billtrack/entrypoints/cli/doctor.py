"""What `billtrack doctor` looks at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from billtrack.accounts.users.queries import has_administrator
from billtrack.core.errors import BilltrackError
from billtrack.entrypoints.backups.postgresql import ProgramMissing, require_program
from billtrack.notifications.mail.queries import read_outbox
from billtrack.notifications.mail.transport import Folder, Transport
from billtrack.platform.config import LOOP_CONNECTIONS, WEB_CONNECTIONS, Settings
from billtrack.platform.db import database_now
from billtrack.platform.extensions import db
from billtrack.platform.installation.queries import require_timezone, worker_is_alive
from billtrack.platform.jobs.bell import queue_is_reachable
from billtrack.platform.replica.lag import MAX_LAG
from billtrack.platform.replica.reading import find_replica_state
from billtrack.presentation.pdf.pdf import missing_font_packages, require_libraries
from billtrack.presentation.sizes import file_size

MIB = 1024 * 1024
ENOUGH_ROOM = 2 * 10**9
"""Bytes free in the data folder under which it is time to do something."""


class Advice(BilltrackError):
    """Everything works, but something should be done."""

    code = "advice"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, or what to do. Advice is fine, too."""

    level: Literal["ok", "warn", "FAIL"]
    text: str

    @property
    def is_fine(self) -> bool:
        """Whether it works."""
        return self.level != "FAIL"


def diagnose(app: Flask, settings: Settings) -> list[Finding]:
    """Look at everything; a part that is down never hides the others."""
    with app.app_context():
        checks: list[tuple[str, Callable[[], str]]] = [
            ("data folder", lambda: _check_folder(settings)),
            ("disk", lambda: _check_room(settings)),
            ("memory", lambda: _check_memory(settings)),
            ("database", lambda: _check_migrations(app)),
            ("connections", lambda: _check_connections(settings)),
            ("replica", _check_replica),
            ("time zone", lambda: _check_timezone(settings)),
            ("administrator", _check_administrator),
            ("queue", _check_queue),
            ("worker", _check_worker),
            ("mail", lambda: _check_mail(app)),
            ("PDF libraries", _check_libraries),
            ("PDF fonts", _check_fonts),
            ("backups", _check_backups),
        ]
        return [_look(name, check) for name, check in checks]


def _look(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding("ok", f"{name}: {check()}")
    except Advice as error:
        return Finding("warn", f"{name}: {error.detail}")
    except BilltrackError as error:
        return Finding("FAIL", f"{name}: {error.detail}")
    except (SQLAlchemyError, OSError) as error:
        return Finding("FAIL", f"{name}: {str(error).splitlines()[0]}")
    finally:
        db.session.rollback()


def _check_folder(settings: Settings) -> str:
    folder = settings.data_dir.resolve()
    if not os.access(folder, os.W_OK):
        raise BilltrackError(f"{folder} is not writable")
    return str(folder)


def _check_room(settings: Settings) -> str:
    free = shutil.disk_usage(settings.data_dir).free
    if free < ENOUGH_ROOM:
        raise Advice(f"only {file_size(free)} free in the data folder: make room, or move it")
    return f"{file_size(free)} free"


def _check_memory(settings: Settings) -> str:
    bodies = settings.body_memory * settings.web_workers * MIB
    if bodies > _machine_memory() // 2:
        raise Advice(
            f"request bodies may take {file_size(bodies)}, more than half of this machine's "
            "memory: lower BILLTRACK_BODY_MEMORY or BILLTRACK_WEB_WORKERS"
        )
    return f"request bodies may take {file_size(bodies)}"


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _check_migrations(app: Flask) -> str:
    script = ScriptDirectory.from_config(_alembic_config(app))
    with db.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current != script.get_current_head():
        raise BilltrackError("not up to date: run billtrack init")
    return f"{db.engine.dialect.name}, up to date"


def _check_connections(settings: Settings) -> str:
    """Compare what the processes of one machine may open with what the server lets in."""
    most = settings.web_workers * (WEB_CONNECTIONS + LOOP_CONNECTIONS)
    most += settings.worker_connections
    if db.engine.dialect.name != "postgresql":
        return "of one machine, to a file"
    if settings.pgbouncer:
        return f"at most {most} at once, to PgBouncer"
    granted = int(db.session.scalar(text(_CONNECTIONS)) or 0)
    if most > granted:
        raise BilltrackError(
            f"web and worker may need {most} at once, PostgreSQL grants {granted}: raise its "
            "max_connections, or put PgBouncer in between and set BILLTRACK_PGBOUNCER=1"
        )
    return f"at most {most} at once, of {granted} that PostgreSQL grants"


_CONNECTIONS = """
SELECT current_setting('max_connections')::int
       - current_setting('superuser_reserved_connections')::int
"""


def _check_replica() -> str:
    state = find_replica_state()
    if state is None:
        return "none is set"
    behind = f"{file_size(state.bytes_behind)} and {state.seconds_behind} s behind"
    if not state.streams:
        raise BilltrackError(f"receives nothing from the primary; it is {behind}")
    if state.seconds_behind > MAX_LAG:
        raise BilltrackError(f"{behind}, so everything reads the primary")
    return f"streams, {behind}" if state.bytes_behind else "streams, up to date"


def _alembic_config(app: Flask) -> Config:
    config: Config = app.extensions["migrate"].migrate.get_config()
    return config


def _check_timezone(settings: Settings) -> str:
    require_timezone(settings.timezone)
    return settings.timezone


def _check_administrator() -> str:
    if not has_administrator():
        raise BilltrackError("none yet: run billtrack create-admin")
    return "there is one"


def _check_queue() -> str:
    if not queue_is_reachable():
        raise BilltrackError("does not answer; is REDIS_URL right?")
    return "answers"


def _check_worker() -> str:
    if not worker_is_alive(now=database_now()):
        raise BilltrackError("none seen within 45 seconds: run billtrack up or billtrack worker")
    return "alive"


def _check_mail(app: Flask) -> str:
    transport: Transport = app.extensions["billtrack.notifications.mail"]
    transport.check()
    if isinstance(transport, Folder):
        raise Advice(
            f"letters are laid into {transport.place}: set BILLTRACK_SMTP_URL to send them"
        )
    state = read_outbox(now=database_now())
    waiting = f", {state.waiting} letters wait" if state.waiting else ""
    return f"{transport.place} takes letters{waiting}"


def _check_libraries() -> str:
    require_libraries()
    return "load"


def _check_fonts() -> str:
    if missing := missing_font_packages():
        raise Advice(
            f"PDFs show boxes for Chinese, Japanese and Korean: apt-get install {' '.join(missing)}"
        )
    return "all there"


def _check_backups() -> str:
    if db.engine.dialect.name == "sqlite":
        return "need nothing"
    with db.engine.connect() as connection:
        try:
            for program in ("pg_dump", "pg_restore"):
                require_program(program, connection)
        except ProgramMissing as error:
            raise Advice(f"cannot be taken: {error.detail}") from error
    return "pg_dump and pg_restore are there"
