"""What every test may ask for: an app on each database, a cast of accounts, clients."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from apiflask import APIFlask
from argon2 import PasswordHasher
from flask.testing import FlaskClient
from pydantic import SecretStr
from structlog.testing import capture_logs

from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.setup.initialise import initialise
from billtrack.platform.config import Settings
from billtrack.platform.extensions import db
from tests import selection
from tests.cast import Cast, create_cast
from tests.compiled import CompiledRule, CompiledTemplates
from tests.effort import load_profile
from tests.midnight import wait_past_midnight
from tests.services import (
    DatabaseCopies,
    GivenPostgresServer,
    GivenRedisServer,
    PostgresServer,
    RedisServer,
    start_postgres,
    start_redis,
    unique_name,
)
from tests.services.processes import forbid_servers

SECRET = SecretStr("a secret of the test suite that guards nothing at all")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only what needs no server (SQLite)")


def pytest_configure(config: pytest.Config) -> None:
    load_profile()
    if selection.is_fast(config):
        forbid_servers()


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    selection.parametrize(metafunc)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    selection.arrange(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    wait_past_midnight()


@pytest.fixture
def chance_round(request: pytest.FixtureRequest) -> int:
    """The number of this round of a `by_chance` test."""
    return int(request.param)


@pytest.fixture(scope="session", autouse=True)
def ordinary_signals() -> None:
    """Give signals that a shell has us ignore their default again, for us and our children.

    Whoever runs tests in the background by nohup or `&` ignores SIGHUP or SIGINT, children
    inherit that, and then they rightly ignore the signals that tests send them.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def compiled_rules() -> Iterator[None]:
    """Let all apps of this process share what their routes compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(APIFlask, "url_rule_class", CompiledRule)
        yield


@pytest.fixture(scope="session", autouse=True)
def little_work_for_passwords() -> Iterator[None]:
    """Hash passwords as ever, but with little work: the suite does it thousands of times.

    Processes that tests start work as hard as the product does.
    """
    with pytest.MonkeyPatch.context() as patch:
        little = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr("billtrack.accounts.users.passwords._hasher", little)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer | GivenPostgresServer]:
    """A PostgreSQL server for the whole session."""
    server = start_postgres()
    yield server
    server.close()


COMPILED_TEMPLATES = CompiledTemplates()


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer | GivenRedisServer]:
    """A Redis server for the whole session."""
    server = start_redis()
    yield server
    server.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database to copy."""
    folder = tmp_path_factory.mktemp("sqlite-template")
    settings = make_settings(folder)
    _initialise(settings)
    return folder / "billtrack.db"


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a migrated PostgreSQL database to copy."""
    name = unique_name()
    url = postgres.create_database(name)
    _initialise(make_settings(tmp_path_factory.mktemp("pg-template"), database_url=url))
    return name


@pytest.fixture(scope="session")
def postgres_copies(postgres: PostgresServer, postgres_template: str) -> DatabaseCopies:
    """Migrated PostgreSQL databases, each as new."""
    return DatabaseCopies(postgres, postgres_template)


@pytest.fixture(params=selection.DATABASES)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a fresh installation: the embedded default, then PostgreSQL."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "billtrack.db")
        yield make_settings(tmp_path)
        return
    copies: DatabaseCopies = request.getfixturevalue("postgres_copies")
    with copies.taken() as url:
        yield make_settings(tmp_path, database_url=url)


@pytest.fixture
def app(settings: Settings) -> Iterator[APIFlask]:
    """The app on a fresh database, with an app context for direct calls."""
    app = create_app(settings)
    app.testing = True
    app.jinja_env.bytecode_cache = COMPILED_TEMPLATES
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def now() -> datetime:
    """One instant for a whole test."""
    return datetime.now(UTC)


@pytest.fixture
def cast(app: APIFlask) -> Cast:
    """The standing cast: everybody has an API key, nobody a password."""
    return create_cast()


@pytest.fixture
def browser(app: APIFlask) -> FlaskClient:
    """A browser without JavaScript and without a session."""
    return app.test_client()


def make_settings(folder: Path, **changes: object) -> Settings:
    """Return settings whose data lie in this folder."""
    values: dict[str, object] = {"data_dir": folder, "secret_key": SECRET, **changes}
    if isinstance(values.get("database_url"), str):
        values["database_url"] = SecretStr(str(values["database_url"]))
    return Settings.model_validate(values)


def _initialise(settings: Settings) -> None:
    app = create_app(settings)
    with app.app_context():
        initialise(settings, now=datetime.now(UTC))
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(autouse=True)
def _keeps_logs_as_they_are() -> Iterator[None]:
    """Fail a test that configures the logs of the whole process: later tests would read nothing."""
    before = structlog.get_config()
    yield
    changed = {name for name, value in structlog.get_config().items() if value is not before[name]}
    assert not changed, "configure the logs in a process of its own"


@pytest.fixture
def logged(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[[], str]]:
    """All that is logged or printed, as text."""
    caplog.set_level("DEBUG")
    with capture_logs() as events:

        def text() -> str:
            return f"{''.join(capfd.readouterr())}{caplog.text}{events}"

        yield text
