"""/reports: ask for documents and see how far they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from flask import url_for
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from billtrack.accounts import access
from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Permission, Reach
from billtrack.accounts.users.queries import UserNotFound, find_user, list_customers, users_by_id
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.idempotency import create_once
from billtrack.api.v1.schemas import BillingDate, Body, MonthText, current_month, read_period
from billtrack.core.errors import InvalidError
from billtrack.core.periods import DateRange
from billtrack.documents.reports import operations, queries
from billtrack.documents.reports.queries import ReportView
from billtrack.platform.idempotency import Answer
from billtrack.platform.limits import Budget
from billtrack.platform.request_head import MAX_LIST_BODY, accepts_body
from billtrack.usage.ingest.fields import Id

MAX_USERS = 10_000
SAMPLE_REPORT: dict[str, JsonValue] = {"month": "2026-10", "format": "pdf"}


class ReportIn(Body):
    """Which report: a month, or inclusive dates; the current month if neither is given."""

    model_config = ConfigDict(json_schema_extra={"examples": [SAMPLE_REPORT]})

    month: MonthText | None = None
    first: Annotated[BillingDate | None, Field(alias="from")] = None
    last: Annotated[BillingDate | None, Field(alias="to")] = None
    format: Literal["pdf", "csv", "xlsx", "json"] = "pdf"


class ReportsIn(ReportIn):
    """Reports for many users, or for every active customer."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_ids": [1, 2], **SAMPLE_REPORT}]}
    )

    user_ids: (
        Annotated[list[Id], Field(min_length=1, max_length=MAX_USERS, fail_fast=True)]
        | Literal["all"]
    )


class QueuedOut(BaseModel):
    """A job to ask about."""

    jobId: str  # noqa: N815 (the seed's name)
    status: str


class UserJobOut(QueuedOut):
    """The job of one user."""

    user_id: int


class QueuedReportsOut(QueuedOut):
    """A parent job and the job of each user."""

    jobs: list[UserJobOut]


class ReportStatusOut(BaseModel):
    """How far a report is; `fileUrl` is null until it is completed."""

    jobId: str  # noqa: N815 (the seed's name)
    status: Literal["queued", "running", "completed", "failed"]
    progress: int
    fileUrl: str | None  # noqa: N815 (the seed's name)
    error: str | None
    user_id: int | None
    format: str | None
    created_at: datetime
    finished_at: datetime | None


@api.post("/reports/<id:user_id>")
@access.require(Permission.REPORTS_CREATE, budget=Budget.REPORTS)
@api.input(ReportIn)
@api.output(QueuedOut, 202)
def create_report(user_id: int, json_data: ReportIn) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Queue a report about one user; ask /reports/status/:jobId how far it is."""
    now = datetime.now(UTC)
    days = _days(json_data, now)
    user = _user_within(access.reach(Permission.REPORTS_CREATE), user_id)

    def create() -> Answer:
        report = operations.request_report(
            user, days, file_format=json_data.format, actor=access.actor(), now=now
        )
        body = {"jobId": str(report.job_id), "status": "queued"}
        return Answer(202, body, f"/api/v1/reports/status/{report.job_id}")

    return create_once(json_data.model_dump(mode="json"), now=now, create=create)


@api.post("/reports")
@access.require(Permission.REPORTS_CREATE, budget=Budget.REPORTS)
@accepts_body(up_to=MAX_LIST_BODY)
@api.input(ReportsIn)
@api.output(QueuedReportsOut, 202)
def create_reports(json_data: ReportsIn) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Queue a report for each of many users, with a parent job that shows how many are done."""
    now = datetime.now(UTC)
    days = _days(json_data, now)
    users = _users(json_data.user_ids, access.reach(Permission.REPORTS_CREATE))

    def create() -> Answer:
        parent, reports = operations.request_reports(
            users, days, file_format=json_data.format, actor=access.actor(), now=now
        )
        jobs = [
            {"jobId": str(report.job_id), "status": "queued", "user_id": report.user_id}
            for report in reports
        ]
        body = {"jobId": str(parent.id), "status": "queued", "jobs": jobs}
        return Answer(202, body, f"/api/v1/reports/status/{parent.id}")

    return create_once(json_data.model_dump(mode="json"), now=now, create=create)


@api.get("/reports/status/<id:job_id>")
@access.require(Permission.REPORTS_READ)
@api.output(ReportStatusOut)
def show_report_status(job_id: int) -> dict[str, Any]:
    """Show how far a report is, and where its file lies once it is completed."""
    return _status_json(queries.get_report(job_id, reach=access.reach(Permission.REPORTS_READ)))


def _status_json(view: ReportView) -> dict[str, Any]:
    job, report = view.job, view.report
    has_file = job.status == "completed" and view.filename is not None
    return {
        "jobId": str(job.id),
        "status": job.status,
        "progress": job.progress,
        "fileUrl": url_for("dashboard.download", job_id=job.id, filename=view.filename)
        if has_file
        else None,
        "error": job.error,
        "user_id": report.user_id if report else None,
        "format": report.format if report else None,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
    }


def _days(asked: ReportIn, now: datetime) -> DateRange:
    days = read_period(
        month=asked.month, first=asked.first, last=asked.last, default=current_month(now)
    )
    if days is None:
        raise RuntimeError("a default month always gives days")
    return days


def _user_within(reach: Reach, user_id: int) -> User:
    user = find_user(user_id) if reach.covers(user_id) else None
    if user is None:
        raise UserNotFound(user_id)
    return user


def _users(user_ids: Sequence[int] | Literal["all"], reach: Reach) -> Sequence[User]:
    if user_ids == "all":
        return [user for user in list_customers() if reach.covers(user.id)]
    known = users_by_id(user_ids)
    for index, user_id in enumerate(user_ids):
        if user_id not in known or not reach.covers(user_id):
            raise InvalidError.at(f"user_ids.{index}", UserNotFound(user_id).detail)
    return [known[user_id] for user_id in dict.fromkeys(user_ids)]
