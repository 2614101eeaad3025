"""Accounts with API keys, for clients that know nothing but HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from billtrack.accounts.credentials.api_keys import create_api_key
from billtrack.accounts.users.permissions import Role
from billtrack.platform.db import transaction
from tests.cast import SYSTEM, create_user
from tests.scenarios.harness import Installation


@dataclass(frozen=True)
class Account:
    """An account and its API key."""

    id: int
    key: str


def create_account(installation: Installation, role: Role, email: str) -> Account:
    with installation.inside():
        user = create_user(role=role, email=email)
        with transaction():
            _, secret = create_api_key(user, actor=SYSTEM, now=datetime.now(UTC), name="test")
        return Account(user.id, secret)
