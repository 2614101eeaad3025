"""`billtrack worker`: runs jobs. Huey's threads fetch them, rendering has its own processes."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
import time
from datetime import UTC, datetime

import structlog
from apiflask import APIFlask
from huey import Huey
from huey.consumer import Consumer
from sqlalchemy.exc import SQLAlchemyError

from billtrack.accounts.sign_in.password_recovery import PASSWORD_REQUEST, answer_request
from billtrack.accounts.sign_in.pending_sign_ins import forget_expired_sign_ins
from billtrack.accounts.sign_in.throttle import forget_old_tries
from billtrack.billing.month_totals.operations import refresh, refresh_past
from billtrack.billing.statements.queries import Terms
from billtrack.documents.reports.build import UsageReportBuilder
from billtrack.documents.reports.operations import USAGE_REPORT
from billtrack.documents.reports.retention import keep_removing_old_files
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.worker.port import serve_worker_port
from billtrack.notifications.mail.operations import LETTER
from billtrack.notifications.mail.sending import LetterSender
from billtrack.platform.config import Settings
from billtrack.platform.db import database_now, transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.installation.operations import beat
from billtrack.platform.installation.queries import machine_name
from billtrack.platform.jobs.bell import RUNNER, hush, mend_queue, queue_is_reachable
from billtrack.platform.jobs.operations import renew_leases, sweep
from billtrack.platform.jobs.runner import Runner
from billtrack.presentation.pdf.pdf import PdfRenderer, RenderingUnavailable
from billtrack.privacy.erasure import ERASURE, Eraser
from billtrack.usage.imports.operations import USAGE_IMPORT
from billtrack.usage.imports.running import UsageImporter
from billtrack.usage.sources.operations import (
    forget_old_hours,
    forget_old_rejected,
    mark_silent_sources,
)
from billtrack.usage.sources.writing import keep_writing

log = structlog.get_logger(__name__)

RENEW_EVERY = 10.0
SWEEP_EVERY = 5.0
REFRESH_EVERY = 15.0
SHUTDOWN_LIMIT = 25
MAX_POLL = 0.5
"""Seconds an idle thread sleeps at most: what a new job waits on the embedded queue."""


class PatientConsumer(Consumer):  # type: ignore[misc]
    """Fetches jobs; whichever signal ends it, what is running is finished first.

    The same signal again stops at once. Huey alone would drop what runs at Ctrl-C, and at
    SIGHUP start a program anew that is not the module it was started as.
    """

    def __init__(self, huey: Huey, *, threads: int) -> None:
        super().__init__(
            huey,
            workers=threads,
            periodic=False,
            max_delay=MAX_POLL,
            shutdown_timeout=SHUTDOWN_LIMIT,
        )
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        heard = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]
        for part in ("Worker", "Scheduler"):
            logging.getLogger(f"huey.consumer.{part}").addFilter(hush)
        self._signal_actions = dict.fromkeys(heard, (False, True))


def run_worker(settings: Settings) -> None:
    """Run jobs until SIGTERM, Ctrl-C or SIGHUP; what is running then is finished first."""
    app = create_app(settings, connections=settings.worker_connections)
    worker_id = f"{machine_name()}-{os.getpid()}-{secrets.token_hex(4)}"
    renderer = PdfRenderer(processes=settings.workers)
    storage = app.extensions["billtrack.storage"]
    builder = UsageReportBuilder(renderer=renderer, storage=storage, settings=settings)
    letters = LetterSender(app.extensions["billtrack.notifications.mail"])
    handlers = {
        USAGE_REPORT: builder.build,
        LETTER: letters.send,
        USAGE_IMPORT: UsageImporter(storage).run,
        PASSWORD_REQUEST: answer_request,
        ERASURE: Eraser(storage, letters.transport).finish,
    }
    runner = Runner(handlers, worker_id=worker_id)
    app.extensions[RUNNER] = runner
    _warm_up(renderer)
    stopping = threading.Event()
    keeper = threading.Thread(
        target=_keep, args=(app, runner, stopping), name="keeper", daemon=True
    )
    keeper.start()
    threading.Thread(
        target=keep_removing_old_files, args=(app, settings, stopping), name="files", daemon=True
    ).start()
    # A thread of its own: counting many customers takes longer than a lease may wait.
    counter = threading.Thread(
        target=_count, args=(app, settings, stopping), name="counter", daemon=True
    )
    counter.start()
    keep_writing(app)
    if settings.worker_port is not None:
        serve_worker_port(app, host=settings.host, port=settings.worker_port)
    log.info("worker_started", worker_id=worker_id, threads=settings.workers)
    try:
        PatientConsumer(app.extensions["huey"], threads=settings.workers).run()
    finally:
        stopping.set()
        renderer.close()


def _warm_up(renderer: PdfRenderer) -> None:
    try:
        renderer.warm_up()
    except RenderingUnavailable as error:
        log.warning("rendering_unavailable", detail=error.detail)


def _keep(app: APIFlask, runner: Runner, stopping: threading.Event) -> None:
    """Renew the leases, say that the worker lives, take up what others left behind."""
    next_beat = 0.0
    while not stopping.is_set():
        try:
            with app.app_context():
                now = database_now()
                # By a clock that nobody sets back: leases must not wait until it is as late again.
                if time.monotonic() >= next_beat:
                    with transaction():
                        beat(runner.worker_id, now=now)
                        renew_leases(runner.running(), now=now)
                    next_beat = time.monotonic() + RENEW_EVERY
                # First, for the sweep rings only once a minute.
                if not queue_is_reachable():
                    log.warning("queue_unavailable")
                    mend_queue()
                with transaction():
                    sweep(now=now)
                    forget_old_tries(now)
                    forget_old_hours(now)
                    forget_old_rejected(now)
                    forget_expired_sign_ins(now)
        except SQLAlchemyError as error:
            # The database is away: leases run out meanwhile, and the next round goes on.
            log.warning("database_unavailable", error=str(error))
        except Exception:
            # Without its keeper a worker would lose every lease, and nobody would see why.
            log.exception("keeper_stumbled")
        stopping.wait(SWEEP_EVERY)
    with app.app_context():
        db.engine.dispose()


def _count(app: APIFlask, settings: Settings, stopping: threading.Event) -> None:
    """Keep the figures of the months fresh, and note which sources have gone silent."""
    while not stopping.is_set():
        try:
            with app.app_context():
                now = datetime.now(UTC)
                mark_silent_sources(now=now)
                terms = Terms(current_calendar(), settings.currency, now)
                if not refresh(terms=terms):
                    refresh_past(terms=terms)
        except SQLAlchemyError as error:
            log.warning("database_unavailable", error=str(error))
        except Exception:
            # Pages then count for themselves, only slower.
            log.exception("summary_failed")
        stopping.wait(REFRESH_EVERY)
