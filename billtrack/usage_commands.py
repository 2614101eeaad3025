"""The commands about usage: prove that the rollups equal the records."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from billtrack import audit
from billtrack.app import create_app
from billtrack.extensions import current_calendar
from billtrack.terminal import Command
from billtrack.usage.verification import Checked, repair
from billtrack.usage.verification import verify as verify_users


@click.command(cls=Command)
@click.option("--repair", "is_repair", is_flag=True, help="Make rollups that differ anew.")
def verify(is_repair: bool) -> None:  # noqa: FBT001
    """Compare the rollups, which bills are made of, with the records; exit 1 if they differ."""
    with create_app().app_context():
        wrong = _compare()
        if wrong and is_repair:
            for user in wrong:
                now = datetime.now(UTC)
                repair(user.differences, calendar=current_calendar(), actor=audit.Actor(), now=now)
            click.echo("Repaired. Once more:")
            wrong = _compare()
    sys.exit(1 if wrong else 0)


def _compare() -> list[Checked]:
    users = rollups = 0
    wrong: list[Checked] = []
    for user in verify_users(calendar=current_calendar()):
        users, rollups = users + 1, rollups + user.rollups
        for difference in user.differences:
            click.echo(str(difference))
        if user.differences:
            wrong.append(user)
    if wrong:
        count = sum(len(user.differences) for user in wrong)
        click.echo(f"{count} of {rollups} rollups differ, of {len(wrong)} of {users} users.")
    else:
        click.echo(f"{rollups} rollups of {users} users equal their records.")
    return wrong
