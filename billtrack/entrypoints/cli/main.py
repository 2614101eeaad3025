"""The `billtrack` command. Exit codes: 0 done, 1 said no, 2 used wrongly."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import click

from billtrack import __version__
from billtrack.api.v1.openapi import document
from billtrack.core.errors import InvalidError
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.cli.accounts import api_key, create_admin, create_user, second_factor
from billtrack.entrypoints.cli.audit import audit
from billtrack.entrypoints.cli.backups import backup, database, restore
from billtrack.entrypoints.cli.doctor import diagnose
from billtrack.entrypoints.cli.terminal import Commands, confirm
from billtrack.entrypoints.cli.usage import usage, verify
from billtrack.entrypoints.cli.users import user
from billtrack.entrypoints.setup.demo import demo_accounts, load_demo
from billtrack.entrypoints.setup.demo_reset import drop_demo
from billtrack.entrypoints.setup.initialise import initialise, setup_link
from billtrack.entrypoints.supervisor import find_port_problem, loopback_of, supervise, web_command
from billtrack.entrypoints.worker.worker import run_worker
from billtrack.platform.config import Settings, load_settings
from billtrack.platform.installation.queries import worker_is_alive_here
from billtrack.platform.logs import configure_logs, json_line
from billtrack.platform.metrics.sharing import shared_counts
from billtrack.presentation.postman import collection


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="billtrack")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def billtrack() -> None:
    """Self-hosted usage tracker and billing system."""


for command in (
    *(create_admin, create_user, user, api_key, second_factor, usage),
    *(verify, audit, backup, restore, database),
):
    billtrack.add_command(command)


@billtrack.command()
def up() -> None:
    """Set up the database, then run web server and worker together."""
    settings = load_settings()
    _require_free_port(settings.host, settings.port)
    configure_logs(settings.log_format)
    _initialise(settings)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with shared_counts():
        code = supervise(
            host=settings.host,
            port=settings.port,
            environment=dict(os.environ),
            commands={
                "web": web_command(settings),
                "worker": [sys.executable, "-P", "-m", "billtrack.entrypoints.cli.main", "worker"],
            },
            on_ready=lambda: _welcome(settings),
            log_format=settings.log_format,
        )
    sys.exit(code)


@billtrack.command()
def serve() -> None:
    """Run the web server alone."""
    settings = load_settings()
    _require_free_port(settings.host, settings.port)
    command = web_command(settings)
    os.execv(command[0], command)  # noqa: S606 (our own command, no shell)


@billtrack.command()
def worker() -> None:
    """Run the worker alone."""
    settings = load_settings()
    if settings.worker_port is not None:
        _require_free_port(settings.host, settings.worker_port, setting="BILLTRACK_WORKER_PORT")
    configure_logs(settings.log_format)
    run_worker(settings)


@billtrack.command()
def init() -> None:
    """Create or upgrade the database; safe at every start."""
    settings = load_settings()
    configure_logs(settings.log_format)
    _initialise(settings)
    click.echo("\n".join(["The database is up to date.", *_ways_in(settings)]))


@billtrack.command()
@click.option(
    "--reset",
    is_flag=True,
    help="Make a new database first. Refused if an account is not of the demo.",
)
@click.option("--yes", is_flag=True, help="Do not ask before a reset.")
def demo(reset: bool, yes: bool) -> None:  # noqa: FBT001
    """Load the demo data and show its accounts."""
    settings = load_settings()
    configure_logs(settings.log_format)
    if reset and not yes:
        confirm("This deletes the whole database and all files, then loads a new demo. Go on?")
    app = create_app(settings)
    with app.app_context():
        now = datetime.now(UTC)
        initialise(settings, now=now)
        if reset:
            drop_demo(settings, app.extensions["billtrack.storage"], now=now)
            initialise(settings, now=now)
        load_demo(settings, now=now)
    click.echo("\n".join(_demo_account_lines(settings)))


@billtrack.command()
def doctor() -> None:
    """Check everything that billtrack needs and say what to do."""
    settings = load_settings()
    findings = diagnose(create_app(settings), settings)
    for finding in findings:
        click.echo(f"{finding.level:<4}  {finding.text}")
    sys.exit(0 if all(finding.is_fine for finding in findings) else 1)


@billtrack.command()
@click.option("--worker", is_flag=True, help="Look for this machine's worker instead.")
def healthcheck(worker: bool) -> None:  # noqa: FBT001
    """Ask the running web server how it is."""
    settings = load_settings()
    if worker:
        _look_for_worker(settings)
    else:
        _ask_web(settings)


@billtrack.command()
@click.option("--output", type=click.Path(path_type=Path), help="Write to this file.")
@click.option("--postman", is_flag=True, help="As a collection for Postman.")
def openapi(output: Path | None, postman: bool) -> None:  # noqa: FBT001
    """Print the OpenAPI document."""
    app = create_app()
    with app.app_context(), app.test_request_context():
        spec = collection(document()) if postman else document()
    text = json.dumps(spec, indent=2, ensure_ascii=False)
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


@billtrack.command()
def config() -> None:
    """Print the settings in force; secrets are not shown."""
    for name, value in load_settings().model_dump(mode="json").items():
        click.echo(f"{name} = {value}")


def main() -> None:
    """Run the command that the arguments name."""
    billtrack.main(prog_name="billtrack")


def _require_free_port(host: str, port: int, *, setting: str = "BILLTRACK_PORT") -> None:
    problem = find_port_problem(host, port, setting=setting)
    if problem is not None:
        raise InvalidError(problem)


def _look_for_worker(settings: Settings) -> None:
    app = create_app(settings)
    with app.app_context():
        if not worker_is_alive_here(now=datetime.now(UTC)):
            raise InvalidError("Not well: no worker of this machine was seen within 45 seconds.")
    click.echo("The worker of this machine is alive.")


def _ask_web(settings: Settings) -> None:
    host = loopback_of(settings.host)
    host = f"[{host}]" if ":" in host else host
    address = f"http://{host}:{settings.port}/api/v1/health"
    # The server is on this machine: a proxy that the environment names is not on the way.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=5) as answer:
            click.echo(answer.read().decode())
    except urllib.error.HTTPError as error:
        raise InvalidError(f"Not well: {error.read().decode()}") from error
    except OSError as error:
        raise InvalidError(f"{address} does not answer: {error}") from error


def _initialise(settings: Settings) -> None:
    app = create_app(settings)
    with app.app_context():
        now = datetime.now(UTC)
        initialise(settings, now=now)
        if settings.demo:
            load_demo(settings, now=now)


def _welcome(settings: Settings) -> None:
    ready = ["", f"billtrack is ready: {settings.public_url}"]
    lines = [*ready, *_ways_in(settings), "Press Ctrl-C to stop.", ""]
    if settings.log_format == "json":
        lines = [json_line(line, logger="billtrack.up") for line in lines if line]
    click.echo("\n".join(lines))


def _ways_in(settings: Settings) -> list[str]:
    """Return the link that makes the first administrator, and the accounts of the demo."""
    with create_app(settings).app_context():
        link = setup_link(settings)
    lines = [f"Create the first administrator (this link works once): {link}"] if link else []
    return [*lines, *_demo_account_lines(settings)] if settings.demo else lines


def _demo_account_lines(settings: Settings) -> list[str]:
    accounts = [
        f"  {account.role:<9} {account.email:<28} {account.password}"
        for account in demo_accounts(settings)
    ]
    return ["Demo accounts to sign in with:", *accounts]


if __name__ == "__main__":
    main()
