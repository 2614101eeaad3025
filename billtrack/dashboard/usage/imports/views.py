"""Usage from CSV files: send one, see how far it is and which lines were refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from flask import (
    Response,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    stream_with_context,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from wtforms import BooleanField

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Breadth, Permission
from billtrack.core.errors import BilltrackError, ConflictError
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.numbers import read_number
from billtrack.platform.db import transaction
from billtrack.platform.jobs.models import OPEN_STATES, Job
from billtrack.platform.request_head import MAX_BODY, accepts_body
from billtrack.platform.storage.storage import StoredFile
from billtrack.usage.imports import operations, queries
from billtrack.usage.imports.models import UsageImport
from billtrack.usage.imports.refused import RefusedLines
from billtrack.usage.imports.running import MAX_KEPT
from billtrack.usage.imports.taking import UsageFile
from billtrack.usage.records.meters import list_meters

PAGE_SIZE = 25
MAX_FILENAME = 255
MAX_TEXT = 200


class ImportForm(FlaskForm):  # type: ignore[misc]
    """A CSV file to take in, or only to check."""

    file = FileField("CSV file", [FileRequired("Choose a file.")])
    check = BooleanField()


@dashboard.get("/usage/imports")
@access.require(Permission.USAGE_RECORD)
def usage_imports() -> ResponseReturnValue:
    """List imports, newest first, and the form that sends a file."""
    return _page(ImportForm())


@dashboard.post("/usage/imports")
@access.require(Permission.USAGE_RECORD)
@accepts_body(up_to=MAX_BODY)
def import_usage() -> ResponseReturnValue:
    """Queue the import, or the check, of the file that was sent."""
    form = ImportForm()
    if not form.validate_on_submit():
        return _page(form), 422
    content: bytes = form.file.data.read()
    try:
        UsageFile(io.BytesIO(content))
    except BilltrackError as error:
        form.file.errors = [error.detail]
        return _page(form), 422
    file = operations.store_file(current_app.extensions["billtrack.storage"], content)
    with transaction():
        wanted = operations.request_import(
            file,
            filename=_filename(form.file.data.filename),
            recorded_by_id=access.principal().user_id,
            is_dry_run=form.check.data or _find_double(file) is not None,
            actor=access.actor(),
            now=datetime.now(UTC),
        )
        shown = url_for("dashboard.usage_import", import_id=wanted.id)
    return redirect(shown, code=303)


@dashboard.get("/usage/imports/<id:import_id>")
@access.require(Permission.USAGE_RECORD)
def usage_import(import_id: int) -> ResponseReturnValue:
    """Show what became of a file: a fragment for htmx, a page for a browser."""
    found, job = queries.get_import(import_id, reach=access.reach(Permission.USAGE_READ))
    after = read_number("after") or 0
    refused = queries.list_refused(found.id, after=after, limit=PAGE_SIZE + 1)
    shown = refused[:PAGE_SIZE]
    double = _find_double(found) if found.is_dry_run else None
    is_fragment = request.headers.get("HX-Request") == "true"
    return render_template(
        f"dashboard/usage/{'_import' if is_fragment else 'import'}.html",
        one=_view(found, job),
        double={"id": double[0].id, "name": double[1], "at": double[0].created_at}
        if double
        else None,
        refused=[
            {"number": line.number, "reason": line.reason, "text": ", ".join(line.cells)[:MAX_TEXT]}
            for line in shown
        ],
        after=after,
        next_after=shown[-1].number if len(refused) > PAGE_SIZE else None,
        max_kept=MAX_KEPT,
    )


@dashboard.get("/usage/imports/<id:import_id>/refused.csv")
@access.require(Permission.USAGE_RECORD)
def refused_lines(import_id: int) -> ResponseReturnValue:
    """Send the refused lines as a file to mend and import."""
    found, _ = queries.get_import(import_id, reach=access.reach(Permission.USAGE_READ))
    parts = _csv_parts(found.id, found.columns or [])
    response = Response(stream_with_context(parts), mimetype="text/csv")
    name = f"refused-lines-of-import-{found.id}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@dashboard.post("/usage/imports/<id:import_id>/start")
@access.require(Permission.USAGE_RECORD)
def start_import(import_id: int) -> ResponseReturnValue:
    """Import a file that was checked."""
    return _change(import_id, operations.start_checked)


@dashboard.post("/usage/imports/<id:import_id>/resume")
@access.require(Permission.USAGE_RECORD)
def resume_import(import_id: int) -> ResponseReturnValue:
    """Go on with an import that failed."""
    return _change(import_id, operations.resume_import)


@dashboard.post("/usage/imports/<id:import_id>/cancel")
@access.require(Permission.USAGE_RECORD)
def cancel_import(import_id: int) -> ResponseReturnValue:
    """Stop an import; what it has added stays."""
    return _change(import_id, operations.cancel_import)


def _change(import_id: int, change: Callable[..., None]) -> ResponseReturnValue:
    """Change the import and show it; what cannot be changed any more is said there."""
    reach = access.reach(Permission.USAGE_READ)
    try:
        with transaction():
            found, job = queries.get_import(import_id, reach=reach)
            change(found, job, actor=access.actor(), now=datetime.now(UTC))
    except ConflictError as error:
        flash(error.detail, "warn")
    return redirect(url_for("dashboard.usage_import", import_id=import_id), code=303)


def _find_double(file: StoredFile | UsageImport) -> tuple[UsageImport, str] | None:
    """Return an import of the same file by somebody else, for who may see it."""
    if access.reach(Permission.USAGE_READ).breadth is not Breadth.ALL:
        return None
    return queries.find_double(file.sha256, recorded_by_id=access.principal().user_id)


def _page(form: ImportForm) -> str:
    before_id = read_number("cursor")
    rows = queries.list_imports(
        reach=access.reach(Permission.USAGE_READ), before_id=before_id, limit=PAGE_SIZE + 1
    )
    shown = rows[:PAGE_SIZE]
    return render_template(
        "dashboard/usage/imports.html",
        form=form,
        events=[meter.code for meter in list_meters()],
        imports=[_view(found, job) for found, job in shown],
        next_cursor=str(shown[-1][0].id) if len(rows) > PAGE_SIZE else None,
        cursor=str(before_id) if before_id else None,
    )


def _view(found: UsageImport, job: Job) -> dict[str, Any]:
    busy = job.status in OPEN_STATES
    return {
        "id": found.id,
        "filename": found.filename,
        "created_at": found.created_at,
        "state": _state(found, job),
        "busy": busy,
        "progress": job.progress,
        "error": job.error,
        "is_check": found.is_dry_run,
        "accepted": found.accepted,
        "duplicate": found.duplicate,
        "refused": found.refused,
        "lines": found.lines,
        "can_cancel": busy and found.cancelled_at is None,
        "can_start": found.is_dry_run and job.status == "completed" and found.path is not None,
        "can_resume": job.status == "failed"
        and found.cancelled_at is None
        and found.path is not None,
    }


def _state(found: UsageImport, job: Job) -> tuple[str, str]:
    """Return the word for how far it is, and the kind of badge that says it."""
    if job.status in OPEN_STATES:
        return ("stopping" if found.cancelled_at else job.status), "accent"
    if job.status == "failed":
        return ("cancelled", "warn") if found.cancelled_at else ("failed", "bad")
    if found.is_dry_run:
        return "checked", "warn" if found.refused else ""
    return "imported", "warn" if found.refused else "ok"


def _csv_parts(import_id: int, columns: Sequence[str]) -> Iterator[bytes]:
    yield b"\xef\xbb\xbf"
    text = io.StringIO(newline="")
    writer = RefusedLines(text, columns=columns)
    for refusals in queries.stream_refused(import_id):
        writer.write(refusals)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def _filename(given: str | None) -> str:
    name = "".join(letter for letter in PurePath(given or "").name if letter.isprintable())
    return name[-MAX_FILENAME:] or "usage.csv"
