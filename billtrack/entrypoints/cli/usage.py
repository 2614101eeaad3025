"""The commands about usage: import it, prove that the rollups equal the records."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, TextIO

import click

from billtrack.accounts.users.permissions import Permission, Role, granted
from billtrack.accounts.users.queries import find_user_by_email
from billtrack.core.errors import InvalidError
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.cli.terminal import Command, Commands
from billtrack.platform import audit
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar
from billtrack.usage.imports.refused import RefusedLines
from billtrack.usage.imports.taking import Door, UsageFile
from billtrack.usage.ingest.intake import preview, submit
from billtrack.usage.records.submissions import Terms, terms_of
from billtrack.usage.records.verification import Checked, repair
from billtrack.usage.records.verification import verify as verify_users
from billtrack.usage.sources.writing import write_noted

STATUSES = ("accepted", "duplicate", "conflict", "rejected")
SHOWN = 20
"""Refused lines that are printed; a file takes all of them."""


@click.group(cls=Commands)
def usage() -> None:
    """Take in usage from files."""


@usage.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--as", "email", required=True, help="The account that records: its e-mail address.")
@click.option("--dry-run", is_flag=True, help="Say what would happen and store nothing.")
@click.option(
    "--refused",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the refused lines to this file, to mend and import.",
)
def import_usage(file: BinaryIO, email: str, dry_run: bool, refused: Path | None) -> None:  # noqa: FBT001
    """Take in the usage records of a CSV file; the same file again adds nothing.

    Columns: user_id or user (e-mail address), event, quantity, occurred_at, and optionally
    idempotency_key, and metadata (JSON) or metadata.NAME. FILE - is standard input. Exit code 1
    when lines are refused.
    """
    with create_app().app_context():
        terms = _terms_of(email)
        source = UsageFile(file)
        door: Door = partial(preview if dry_run else submit, terms=terms)
        with (
            refused.open("w", encoding="utf-8-sig", newline="") if refused else nullcontext() as out
        ):
            counts = _take_in(source, door, out)
        if not dry_run:
            with transaction():
                audit.record(
                    "usage.imported",
                    actor=audit.Actor(user_id=terms.recorded_by_id),
                    now=datetime.now(UTC),
                    object_type="usage_import",
                    changes={"file": Path(file.name).name, **counts},
                )
            write_noted()
    click.echo(_summary(counts, dry_run))
    sys.exit(1 if counts["rejected"] or counts["conflict"] else 0)


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


def _terms_of(email: str) -> Terms:
    user = find_user_by_email(email)
    if user is None or user.deactivated_at is not None:
        raise InvalidError(f"There is no active account for {email}.")
    if granted(Role(user.role), Permission.USAGE_RECORD) is None:
        raise InvalidError(f"The role {user.role} may not record usage.")
    return terms_of(user.id, datetime.now(UTC))


def _take_in(source: UsageFile, door: Door, out: TextIO | None) -> Counter[str]:
    writer = RefusedLines(out, columns=source.columns) if out else None
    counts: Counter[str] = Counter()
    shown = 0
    for block in source.take_in(door):
        counts += block.counts
        for refusal in block.refusals[: SHOWN - shown]:
            click.echo(f"line {refusal.number}: {refusal.reason}", err=True)
        shown = min(SHOWN, shown + len(block.refusals))
        if writer:
            writer.write(block.refusals)
    return counts


def _summary(counts: Counter[str], dry_run: bool) -> str:  # noqa: FBT001
    """Say in one line what became of the lines."""
    found = ", ".join(f"{counts[name]} {name}" for name in STATUSES)
    return f"{'Would be' if dry_run else 'Lines'}: {found}."


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
        click.echo(f"{count} rollups differ, of {len(wrong)} of {users} users.")
    else:
        click.echo(f"{rollups} rollups of {users} users equal their records.")
    return wrong
