"""The commands about accounts and their API keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from billtrack.accounts.credentials.api_keys import create_api_key, revoke_api_key
from billtrack.accounts.credentials.key_rotation import MAX_GRACE, is_working, rotate_api_key
from billtrack.accounts.sign_in.password_changes import hash_first_password
from billtrack.accounts.sign_in.second_factor import reset
from billtrack.accounts.users.models import ApiKey, User
from billtrack.accounts.users.permissions import Breadth, Reach, Role
from billtrack.accounts.users.queries import find_user_by_email, list_api_keys, users_by_id
from billtrack.billing.customers import invite_account, open_account
from billtrack.core.errors import InvalidError
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.cli.terminal import Command, Commands, read_password
from billtrack.platform import audit
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar

EVERYTHING = Reach(Breadth.ALL, 0)
SYSTEM = audit.Actor()
AT_ONCE = 200


@click.command("create-admin", cls=Command)
@click.option("--email", required=True)
@click.option("--name", default="Administrator", show_default=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def create_admin(email: str, name: str, password_stdin: bool) -> None:  # noqa: FBT001
    """Create an administrator."""
    password = read_password(from_stdin=password_stdin)
    user = _create_user(email=email, name=name, role=Role.ADMIN, password=password)
    click.echo(f"Created administrator {user['email']} (id {user['id']}).")


@click.command("create-user", cls=Command)
@click.option("--email", required=True)
@click.option("--role", required=True, type=click.Choice([str(role) for role in Role]))
@click.option("--name", help="Defaults to the e-mail address.")
@click.option("--password-stdin", is_flag=True, help="Read a password from standard input.")
@click.option("--invite", is_flag=True, help="Send a letter with a link to choose a password.")
@click.option("--json", "as_json", is_flag=True)
def create_user(
    email: str,
    role: str,
    name: str | None,
    password_stdin: bool,  # noqa: FBT001
    invite: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Create an account; without a password it cannot sign in, but can have API keys."""
    if invite and password_stdin:
        raise click.UsageError("Give either a password, or --invite.")
    password = read_password(from_stdin=True) if password_stdin else None
    user = _create_user(
        email=email, name=name or email, role=Role(role), password=password, invite=invite
    )
    click.echo(json.dumps(user) if as_json else f"Created {role} {email} (id {user['id']}).")


@click.group("api-key", cls=Commands)
def api_key() -> None:
    """Make, list, rotate and revoke API keys."""


@api_key.command("create")
@click.option("--user", "email", required=True, help="E-mail address of the account.")
@click.option("--name", default="command line", show_default=True)
@click.option("--scopes", help="Separated by commas; all that the role grants if left out.")
@click.option("--days", type=click.IntRange(1, 3650), help="It expires after; never if left out.")
@click.option("--json", "as_json", is_flag=True)
def create_key(
    email: str,
    name: str,
    scopes: str | None,
    days: int | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Make an API key; it is shown this once."""
    now = datetime.now(UTC)
    with create_app().app_context(), transaction():
        key, secret = create_api_key(
            _existing_user(email),
            actor=SYSTEM,
            now=now,
            name=name,
            scopes=scopes.split(",") if scopes else None,
            expires_at=now + timedelta(days=days) if days else None,
        )
        answer = {"id": key.id, "key": secret}
    click.echo(json.dumps(answer) if as_json else answer["key"])


@api_key.command("list")
def list_keys() -> None:
    """List API keys, without their secret text."""
    now = datetime.now(UTC)
    with create_app().app_context():
        keys = list_api_keys(reach=EVERYTHING, limit=10_000)
        owners = users_by_id([key.user_id for key in keys])
        for key in keys:
            state = _state(key, owners[key.user_id], now)
            click.echo(f"{key.id}\tuser {key.user_id}\t{key.prefix}…\t{state}\t{key.name}")


@api_key.command("rotate")
@click.argument("key_id", type=click.IntRange(1, 10**18))
@click.option(
    "--grace-hours",
    type=click.IntRange(0, int(MAX_GRACE.total_seconds()) // 3600),
    default=24,
    show_default=True,
    help="How long the old key works on; 0 ends it at once.",
)
@click.option("--json", "as_json", is_flag=True)
def rotate_key(key_id: int, grace_hours: int, as_json: bool) -> None:  # noqa: FBT001
    """Give an API key a successor; that is shown this once."""
    with create_app().app_context(), transaction():
        key, secret = rotate_api_key(
            key_id,
            actor=SYSTEM,
            reach=EVERYTHING,
            now=datetime.now(UTC),
            grace=timedelta(hours=grace_hours),
        )
        answer = {"id": key.id, "key": secret}
    click.echo(json.dumps(answer) if as_json else answer["key"])


@api_key.command("revoke")
@click.argument("key_id", type=click.IntRange(1, 10**18))
def revoke_key(key_id: int) -> None:
    """Make an API key useless at once."""
    with create_app().app_context(), transaction():
        revoke_api_key(key_id, actor=SYSTEM, reach=EVERYTHING, now=datetime.now(UTC))
    click.echo(f"API key {key_id} is revoked.")


@click.group("second-factor", cls=Commands)
def second_factor() -> None:
    """Second factors of accounts."""


@second_factor.command("reset")
@click.option("--email", required=True, help="E-mail address of the account.")
def reset_second_factor(email: str) -> None:
    """Take the second factor away from somebody who has lost telephone and recovery codes."""
    with create_app().app_context(), transaction():
        user = _existing_user(email)
        reset(user.id, actor=SYSTEM, reach=EVERYTHING, now=datetime.now(UTC))
    click.echo(f"The password alone opens the account {email} now. A letter says so to its owner.")


def _state(key: ApiKey, owner: User, now: datetime) -> str:
    """Say whether the key works, and until when."""
    if key.revoked_at is not None:
        return "revoked"
    if not owner.is_active:
        return "account deactivated"
    if not is_working(key, owner, now=now):
        return "expired" if key.rotated_at is None else "replaced"
    until = f" until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else ""
    return f"live{until}" if key.rotated_at is None else f"replaced, live{until}"


def _create_user(
    *, email: str, name: str, role: Role, password: str | None, invite: bool = False
) -> dict[str, Any]:
    account: dict[str, Any] = {"actor": SYSTEM, "email": email, "name": name, "role": role}
    with create_app().app_context():
        hashed = None
        if password is not None:
            hashed = hash_first_password(password, email=email, name=name)
        with transaction():
            account |= {"now": datetime.now(UTC), "calendar": current_calendar()}
            user = invite_account(**account) if invite else open_account(**account, password=hashed)
        return {"id": user.id, "email": user.email, "name": user.name, "role": user.role}


def _existing_user(email: str) -> User:
    user = find_user_by_email(email)
    if user is None:
        raise InvalidError(f"There is no account for {email}.")
    return user
