"""A connection to PostgreSQL for an event loop, beside those that threads use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import psycopg
from sqlalchemy import Engine

from billtrack.platform.engines import PING_SECONDS, Use, connect_arguments, has_arrived, limits

Row = tuple[Any, ...]


class AnswerLost(Exception):
    """The connection was lost after a statement was sent: what came of it is not known."""


class LoopConnection:
    """One connection, made when it is first needed, and anew when it was lost.

    Each statement is a transaction by itself; they run one after the other.
    """

    def __init__(self, engine: Engine, use: Use) -> None:
        self._arguments = connect_arguments(engine, use)
        self._limits = limits(use)
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self._used_at = 0.0
        self._turn = asyncio.Lock()

    async def execute(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        """Return the rows of a statement.

        Raises psycopg.Error where nothing came of it, and AnswerLost.
        """
        async with self._turn:
            connection = await self._connect()
            try:
                cursor = await connection.execute(statement.encode(), values)
                return await cursor.fetchall()
            except psycopg.Error as error:
                if connection.closed:
                    raise AnswerLost(str(error)) from error
                raise
            finally:
                self._used_at = time.monotonic()

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            await self._connection.close()

    async def _connect(self) -> psycopg.AsyncConnection[Row]:
        """Return the connection; what was left alone or spoke unasked has to answer first."""
        known = self._connection
        if known is not None:
            is_fresh = time.monotonic() - self._used_at < PING_SECONDS
            if (is_fresh and not has_arrived(known)) or await _answers(known):
                return known
            await known.close()
        self._connection = None
        made = await psycopg.AsyncConnection.connect(**self._arguments, autocommit=True)
        await made.execute(self._limits.encode())
        self._connection = made
        return made


async def _answers(connection: psycopg.AsyncConnection[Row]) -> bool:
    try:
        await connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True
