"""The commands about a person's data: hand them out, erase them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.accounts.users.queries import find_user_by_email
from billtrack.core.errors import InvalidError
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.cli.terminal import Commands, confirm
from billtrack.platform import audit
from billtrack.platform.db import transaction
from billtrack.privacy.erasure import erase_account
from billtrack.privacy.export import note_export, stream_export

EVERYTHING = Reach(Breadth.ALL, 0)
SYSTEM = audit.Actor()


@click.group("user", cls=Commands)
def user() -> None:
    """Hand out or erase the personal data of an account."""


@user.command("export")
@click.option("--email", required=True, help="E-mail address of the account.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the ZIP to this file.",
)
def export_user(email: str, output: Path) -> None:
    """Write all that is held about a person into a ZIP of JSON files."""
    now = datetime.now(UTC)
    with create_app().app_context():
        with transaction():
            user_id = _existing_user(email).id
            note_export(user_id, actor=SYSTEM, reach=EVERYTHING, now=now)
        output.touch(mode=0o600)
        with output.open("wb") as file:
            for part in stream_export(user_id, now=now):
                file.write(part)
    click.echo(f"The personal data of user {user_id} are in {output}.")


@user.command("erase")
@click.option("--email", required=True, help="E-mail address of the account.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase_user(email: str, yes: bool) -> None:  # noqa: FBT001
    """Erase the personal data of an account for ever; usage and bills stay."""
    if not yes:
        confirm(f"This erases the person behind {email} for ever. Go on?")
    with create_app().app_context(), transaction():
        found = _existing_user(email)
        erased = erase_account(found.id, actor=SYSTEM, reach=EVERYTHING, now=datetime.now(UTC))
        told = f"User {erased.id} is now {erased.name}. A worker removes the files."
    click.echo(told)


def _existing_user(email: str) -> User:
    found = find_user_by_email(email)
    if found is None:
        raise InvalidError(f"There is no account for {email}.")
    return found
