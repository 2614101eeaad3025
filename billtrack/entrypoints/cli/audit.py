"""The commands about the audit log: prove that it is what was written."""

from __future__ import annotations

import re

import click

from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.cli.terminal import Command, Commands
from billtrack.platform.audit.verification import verify

HASH = 64
"""Hexadecimal digits of a head."""


@click.group("audit", cls=Commands)
def audit() -> None:
    """Look into the audit log."""


@audit.command("verify", cls=Command)
@click.option("--head", help="A head that was printed before and kept elsewhere.")
def verify_log(head: str | None) -> None:
    """Follow the chain of entries; exit 1 at the first that is not what was written."""
    known = _read_head(head) if head is not None else None
    with create_app().app_context():
        found = verify(known_head=known)
    erased = f", {found.erased} personal values erased" if found.erased else ""
    click.echo(f"{found.entries} entries follow one another as they were written{erased}.")
    if known is not None:
        click.echo(f"The head that was given is that of entry {found.known_at}.")
    click.echo(f"Head: {found.head.hex()} (entry {found.last_id})")


def _read_head(text: str) -> bytes:
    if not re.fullmatch(f"[0-9A-Fa-f]{{{HASH}}}", text):
        raise click.BadParameter(f"A head is {HASH} hexadecimal digits.", param_hint="--head")
    return bytes.fromhex(text)
