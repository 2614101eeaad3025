"""A real server for the client to talk to, and the accounts that it records by."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from billtrack.accounts.users.permissions import Role
from tests.scenarios.accounts import Account, create_account
from tests.scenarios.harness import Installation, Running, eventually

numbers = count()


@dataclass
class Server:
    """An installation whose web a test may kill and start again, and who is who in it."""

    installation: Installation
    provider: Account
    customer: Account
    web: Running | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.installation.port}"

    def start(self) -> None:
        """Start the web and wait until it answers."""
        web = self.web = self.installation.start("serve")
        eventually(self.installation.answers, lambda: web.text)

    def kill9(self) -> None:
        """End the web at once."""
        assert self.web is not None
        self.web.kill9()


@pytest.fixture
def server(sqlite_template: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that is not started yet."""
    folder = tmp_path / "server"
    folder.mkdir()
    made = _with_accounts(_installed(sqlite_template, folder))
    yield made
    if made.web is not None:
        made.web.kill9()
    made.installation.close()


@pytest.fixture(scope="module")
def web(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A web that answers, for the tests of a file that do not stop it."""
    installation = _installed(sqlite_template, tmp_path_factory.mktemp("server"))
    with installation.start("serve") as running:
        eventually(installation.answers, lambda: running.text)
        yield installation
    installation.close()


@pytest.fixture
def running(web: Installation) -> Server:
    """A server that answers, with accounts of the test's own."""
    return _with_accounts(web)


def _installed(template: Path, folder: Path) -> Installation:
    shutil.copy(template, folder / "billtrack.db")
    return Installation(folder, BILLTRACK_WEB_WORKERS="1")


def _with_accounts(installation: Installation) -> Server:
    name = f"{next(numbers)}.test.example"
    provider = create_account(installation, Role.PROVIDER, f"provider@{name}")
    customer = create_account(installation, Role.CUSTOMER, f"customer@{name}")
    return Server(installation, provider, customer)
