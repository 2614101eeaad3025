"""The commands that keep an installation: back it up, restore it, move its database."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from pydantic import SecretStr

from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.backups.manifest import DOCUMENTS, Manifest
from billtrack.entrypoints.backups.moving import move_to_postgresql
from billtrack.entrypoints.backups.restoring import restore_backup
from billtrack.entrypoints.backups.taking import take_backup
from billtrack.entrypoints.cli.terminal import Command, Commands
from billtrack.platform.config import load_settings
from billtrack.usage.records.verification import Finding


@click.command(cls=Command)
@click.argument("target", metavar="FILE_OR_FOLDER", type=click.Path(path_type=Path))
def backup(target: Path) -> None:
    """Write everything into one new file (0600), while billtrack runs."""
    settings = load_settings()
    app = create_app(settings)
    with app.app_context():
        path, manifest = take_backup(
            target,
            data_dir=settings.data_dir,
            storage=app.extensions["billtrack.storage"],
            now=datetime.now(UTC),
        )
    documents = sum(file.path.startswith(DOCUMENTS) for file in manifest.files)
    click.echo(f"Wrote {path}: {_tell(manifest)}, {documents} documents.")
    if missing := manifest.missing_documents:
        click.echo(f"{len(missing)} documents are not kept any more: {', '.join(missing[:5])}")


@click.command(cls=Command)
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
def restore(source: Path) -> None:
    """Restore a backup into an empty installation, and prove it; exit 1 if it differs."""
    settings = load_settings()
    app = create_app(settings)
    with app.app_context():
        restored = restore_backup(
            source, settings=settings, storage=app.extensions["billtrack.storage"]
        )
    click.echo(
        f"Restored what was backed up at {restored.manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC: "
        f"{_tell(restored.manifest)}, {restored.documents} documents. "
        "All counts and totals equal the manifest."
    )
    _end_with(restored.differences, rollups=restored.rollups, users=restored.users)


@click.group("db", cls=Commands)
def database() -> None:
    """Move the database."""


@database.command("copy")
@click.option(
    "--to",
    envvar="BILLTRACK_COPY_TO",
    show_envvar=True,
    help="postgresql://… of an empty database; everybody on this machine sees what is typed here.",
)
@click.option(
    "--to-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read that address from a file.",
)
def copy(to: str | None, to_file: Path | None) -> None:
    """Copy this SQLite installation to an empty PostgreSQL; exit 1 if anything differs."""
    address = to_file.read_text(encoding="utf-8").strip() if to_file else to
    if not address:
        raise click.UsageError("Name the database by --to, --to-file or BILLTRACK_COPY_TO.")
    settings = load_settings()
    target = settings.model_copy(update={"database_url": SecretStr(address)})
    with create_app(settings).app_context():
        moved = move_to_postgresql(settings, target)
    click.echo(
        f"Copied {sum(moved.rows.values())} rows of {len(moved.rows)} tables, each compared; "
        f"{moved.totals} usage totals are equal."
    )
    click.echo("Set DATABASE_URL to the new address and start billtrack. The source is unchanged.")
    _end_with(moved.differences, rollups=moved.rollups, users=moved.users)


def _tell(manifest: Manifest) -> str:
    rows = manifest.totals.rows
    records = sum(total.records for total in manifest.totals.recorded.values())
    return f"{sum(rows.values())} rows of {len(rows)} tables, {records} usage records"


def _end_with(differences: Sequence[Finding], *, rollups: int, users: int) -> None:
    if not differences:
        click.echo(f"{rollups} rollups of {users} users equal their records.")
        return
    for difference in differences:
        click.echo(str(difference))
    click.echo(
        f"{len(differences)} rollups differ from what they sum up, as they did before. "
        "billtrack verify --repair makes them anew."
    )
    sys.exit(1)
