"""How the address of a database is written."""

from __future__ import annotations

POSTGRESQL = "postgresql+psycopg://"


def with_driver(url: str) -> str:
    """Return the address with the driver that billtrack uses."""
    scheme, _, rest = url.partition("://")
    return POSTGRESQL + rest if scheme in {"postgresql", "postgres"} else url


def is_postgresql(url: str) -> bool:
    """Tell whether it is a PostgreSQL's."""
    return with_driver(url).startswith(POSTGRESQL)
