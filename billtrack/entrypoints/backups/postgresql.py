"""PostgreSQL by its own programs: pg_dump and pg_restore."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, func, inspect, select, text

from billtrack.core.errors import BilltrackError, ConflictError
from billtrack.entrypoints.backups.totals import Facts, read_facts
from billtrack.platform.engines import POSTGRESQL_READS, POSTGRESQL_WRITES
from billtrack.platform.extensions import db

_OTHERS = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""
_FUNCTIONS = r"""SELECT CAST(CAST(oid AS regprocedure) AS text) FROM pg_proc
    WHERE pronamespace = CAST(current_schema() AS regnamespace) AND proname LIKE 'billtrack\_%'"""
_PRODUCT = re.compile(r"\(PostgreSQL\) (\d+)")


class ProgramMissing(BilltrackError):
    """A program of postgresql-client is not installed, or too old for the server."""

    code = "program_missing"


class DumpFailed(BilltrackError):
    """pg_dump or pg_restore ended with an error."""

    code = "dump_failed"


def dump(target: Path) -> Facts:
    """Write the database into a file as it is at one instant, and return what it holds then.

    Both are read from one snapshot, whatever is recorded meanwhile. Raises ProgramMissing and
    DumpFailed.
    """
    with db.engine.connect().execution_options(**POSTGRESQL_READS) as connection:
        program = require_program("pg_dump", connection)
        _lift_time_limits(connection)
        facts = read_facts(connection)
        snapshot = connection.scalar(select(func.pg_export_snapshot()))
        options = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
        _run([program, *options, f"--file={target}"], connection, content=None)
    return facts


def load(content: IO[bytes]) -> None:
    """Fill the empty database from what `dump` wrote: all of it, or nothing."""
    with db.engine.connect() as connection:
        program = require_program("pg_restore", connection)
        options = ["--no-owner", "--no-privileges", "--no-comments", "--exit-on-error"]
        _run([program, *options, "--single-transaction"], connection, content=content)


def empty() -> None:
    """Remove every table of the database, and billtrack's functions."""
    connection = db.engine.connect().execution_options(**POSTGRESQL_WRITES)
    with connection, connection.begin():
        quote = connection.dialect.identifier_preparer.quote
        if names := inspect(connection).get_table_names():
            connection.execute(text(f"DROP TABLE {', '.join(map(quote, names))} CASCADE"))
        for function in connection.scalars(text(_FUNCTIONS)).all():
            connection.execute(text(f"DROP FUNCTION {function}"))


def require_free(connection: Connection) -> None:
    """Raise ConflictError unless the database has no table, and nobody else works with it."""
    name = connection.engine.url.database
    if inspect(connection).get_table_names():
        raise ConflictError(
            f"The database {name} holds tables already, and only an empty one is filled. "
            f"Make a new one (createdb), and name it in its address."
        )
    others = connection.scalar(text(_OTHERS))
    if others:
        raise ConflictError(f"{others} others are connected to {name}. Stop billtrack first.")


def require_program(name: str, connection: Connection) -> str:
    """Return the path of a program that is as new as the server; raises ProgramMissing."""
    server = int((connection.dialect.server_version_info or (0,))[0])
    path = shutil.which(name)
    if path is None:
        raise ProgramMissing(
            f"{name} is not installed: apt-get install postgresql-client-{server} "
            "(or postgresql-client, where that is as new as the server)"
        )
    answer = subprocess.run(  # noqa: S603 (found by PATH, as the administrator set it)
        [path, "--version"], capture_output=True, text=True, check=False
    )
    found = _PRODUCT.search(answer.stdout)
    if found is None or int(found[1]) < server:
        raise ProgramMissing(
            f"{path} is of PostgreSQL {found[1] if found else 'an unknown version'}, older than "
            f"the server ({server}): apt-get install postgresql-client-{server}, and see to it "
            "that PATH finds that one first"
        )
    return path


def _lift_time_limits(connection: Connection) -> None:
    # Counting and dumping many records takes longer than any page may.
    for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(text(f"SET LOCAL {setting} = 0"))


def _run(command: list[str], connection: Connection, *, content: IO[bytes] | None) -> None:
    # The password goes through the environment: everybody may read command lines.
    url = connection.engine.url.set(drivername="postgresql")
    environment = {**os.environ, **({"PGPASSWORD": url.password} if url.password else {})}
    address = url.set(password="").render_as_string(hide_password=False)
    process = subprocess.Popen(  # noqa: S603 (see require_program)
        [*command, f"--dbname={address}"],
        stdin=subprocess.DEVNULL if content is None else subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )
    with process:
        if content is not None:
            _feed(process, content)
        said = process.stderr.read() if process.stderr else b""
    if process.returncode != 0:
        name = Path(command[0]).name
        raise DumpFailed(f"{name} ended with an error: {' '.join(said.decode().split())}")


def _feed(process: subprocess.Popen[bytes], content: IO[bytes]) -> None:
    pipe = process.stdin
    try:
        if pipe is not None:
            with pipe:
                shutil.copyfileobj(content, pipe, 1 << 20)
    except BrokenPipeError:
        return  # it has ended, and its exit code and words say why
