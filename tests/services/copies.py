"""Copies of a migrated database: each test gets one as new, seldom one that is new.

To copy a database costs PostgreSQL ten times what it costs to empty one and to put back the
rows that it began with. What a test has altered beyond rows, or filled, is not used again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from tests.services.postgres import GivenPostgresServer, PostgresServer, unique_name

LARGE = 1_000_000
"""Bytes of a table or index: emptied, it would leave the next test much to skip over."""

# What changes with every definition that is made, altered or dropped, and with what grows.
CATALOGS = ("class", "attribute", "constraint", "index", "policy", "proc", "trigger", "type")
STATE = " UNION ALL ".join(
    f"SELECT '{name}', count(*), sum(xmin::text::bigint) FROM pg_{name}" for name in CATALOGS
)
STATE += f"""
    UNION ALL SELECT 'settings', count(*), 0
        FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
        WHERE d.datname = current_database()
    UNION ALL SELECT 'large', count(*), 0
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > {LARGE}"""
NAMES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = %s"


class DatabaseCopies:
    """Databases that look like the template."""

    def __init__(self, server: PostgresServer | GivenPostgresServer, template: str) -> None:
        self._server = server
        self._template = template
        self._used: list[str] = []
        with psycopg.connect(server.url_of(template)) as connection:
            self._state = connection.execute(STATE.encode()).fetchall()
            self._rows = [
                (table, _read_rows(connection, table))
                for table in [sql.Identifier(*row) for row in connection.execute(NAMES, ["r"])]
            ]
            self._counters = [
                (name, *_read_counter(connection, name))
                for (name,) in connection.execute(NAMES, ["S"])
            ]

    @contextmanager
    def taken(self) -> Iterator[str]:
        """Lend the address of a database that nobody else uses or has used under that name."""
        name = self._find() or self._create()
        yield self._server.url_of(name)
        if isinstance(self._server, PostgresServer):
            self._used.append(name)
        else:  # where others are, nothing is left behind
            self._server.drop_database(name)

    def _create(self) -> str:
        name = unique_name()
        self._server.create_database(name, template=self._template)
        return name

    def _find(self) -> str | None:
        while self._used:
            name = self._rename(self._used.pop())
            with psycopg.connect(self._server.url_of(name)) as connection:
                if connection.execute(STATE.encode()).fetchall() == self._state:
                    self._put_back(connection)
                    return name
            self._server.drop_database(name)
        return None

    def _rename(self, name: str) -> str:
        """End what still uses it, and let nobody find it under the name it had."""
        new = unique_name()
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
                [name],
            )
            names = [sql.Identifier(name), sql.Identifier(new)]
            connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*names))
        return new

    def _put_back(self, connection: psycopg.Connection[Any]) -> None:
        # Neither rules against deletion nor references between tables count now.
        connection.execute("SET session_replication_role = replica")
        delete = sql.SQL("DELETE FROM {}")
        connection.execute(sql.SQL(";").join(delete.format(table) for table, _ in self._rows))
        for table, rows in self._rows:
            if rows:
                into = sql.SQL("COPY {} FROM STDIN").format(table)
                with connection.cursor().copy(into) as copy:
                    copy.write(rows)
        for counter in self._counters:
            connection.execute("SELECT setval(%s::text::regclass, %s, %s)", counter)


def _read_rows(connection: psycopg.Connection[Any], table: sql.Identifier) -> bytes:
    with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(table)) as copy:
        return b"".join(bytes(part) for part in copy)


def _read_counter(connection: psycopg.Connection[Any], name: str) -> tuple[int, bool]:
    query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(name))
    last, is_called = connection.execute(query).fetchall()[0]
    return last, is_called
