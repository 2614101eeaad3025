"""A worker inside the test process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from apiflask import APIFlask
from sqlalchemy import select

from billtrack.documents.reports.build import UsageReportBuilder
from billtrack.documents.reports.operations import USAGE_REPORT
from billtrack.platform.config import Settings
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.operations import GROUP
from billtrack.platform.jobs.runner import Handler, Runner
from billtrack.presentation.pdf.pdf import PdfRenderer

RunJobs = Callable[..., None]


@pytest.fixture(scope="session")
def renderer() -> Iterator[PdfRenderer]:
    """One rendering process for the whole session: starting it takes a second."""
    found = PdfRenderer(processes=1)
    yield found
    found.close()


@pytest.fixture
def run_jobs(app: APIFlask, settings: Settings, renderer: PdfRenderer) -> RunJobs:
    """Run every queued job to its end; pass a handler to run something else instead."""
    storage = app.extensions["billtrack.storage"]
    builder = UsageReportBuilder(renderer=renderer, storage=storage, settings=settings)

    def run(handler: Handler = builder.build) -> None:
        runner = Runner({USAGE_REPORT: handler}, worker_id="test")
        db.session.rollback()
        query = select(Job.id).where(Job.status == "queued", Job.kind != GROUP)
        for job_id in db.session.scalars(query).all():
            with app.app_context():  # a worker has no request whose account it could know
                runner.run(job_id)
        db.session.rollback()

    return run
