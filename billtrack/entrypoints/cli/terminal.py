"""How commands speak to a terminal: one sentence for a refusal, questions, exit codes."""

from __future__ import annotations

import sys
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from billtrack.core.errors import BilltrackError


class Command(click.Command):
    """Refuses in one sentence, never with a traceback but for --debug; `flask` does alike."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; raises click.ClickException with the sentence."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BilltrackError as error:
            raise click.ClickException(error.detail) from error
        except Exception as error:
            if "--debug" in sys.argv:
                raise
            raise click.ClickException(_sentence(error)) from error


class Commands(click.Group):
    """Commands that all refuse alike."""

    command_class = Command
    group_class = type


def confirm(question: str) -> None:
    """Go on only after a yes; raises click.UsageError where nobody can say it."""
    if not sys.stdin.isatty():
        raise click.UsageError("Without a terminal, confirm by --yes.")
    click.confirm(question, abort=True)


def read_password(*, from_stdin: bool) -> str:
    """Return a password typed twice, or one line of standard input.

    Raises click.UsageError where nobody can type it.
    """
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise click.UsageError("Without a terminal, give the password by --password-stdin.")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def _sentence(error: Exception) -> str:
    what = str(error).partition("\n")[0]
    if isinstance(error, SQLAlchemyError):
        return f"The database refuses: {what}. Run billtrack init; billtrack doctor says more."
    return f"Unexpected: {type(error).__name__}: {what} (run with --debug for more)"
