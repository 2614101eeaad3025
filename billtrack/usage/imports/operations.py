"""Ask for imports, begin those that were checked, stop them, forget what they brought."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import delete, update

from billtrack.core.errors import ConflictError, UnavailableError
from billtrack.platform import audit
from billtrack.platform.db import row_count
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import OPEN_STATES, Job
from billtrack.platform.jobs.operations import enqueue, retry
from billtrack.platform.storage.storage import Storage, StoredFile
from billtrack.usage.imports.models import RefusedLine, UsageImport

log = structlog.get_logger(__name__)

USAGE_IMPORT = "usage_import"


class ImportNotStartable(ConflictError):
    """Only what was checked to its end, and is still kept, can be imported without its file."""

    code = "usage_import_not_startable"


class ImportEnded(ConflictError):
    """The import has ended, or was cancelled before."""

    code = "usage_import_ended"


def store_file(storage: Storage, content: bytes) -> StoredFile:
    """Keep a file until it is taken in; before the transaction that asks for the import."""
    return storage.put(f"imports-{secrets.token_hex(12)}/usage.csv", content)


def remove_file(storage: Storage, path: str) -> bool:
    """Remove a file that was stored; tell whether it could be done, else a later sweep tries."""
    try:
        storage.remove(path.partition("/")[0])
    except (UnavailableError, OSError) as error:
        log.warning("import_file_stays", path=path, error=str(error))
        return False
    return True


def request_import(
    file: StoredFile,
    *,
    filename: str,
    recorded_by_id: int,
    is_dry_run: bool,
    actor: audit.Actor,
    now: datetime,
) -> UsageImport:
    """Queue the import of a stored file; records will be the account's. Caller's transaction.

    `is_dry_run`: only find out what an import would do.
    """
    job = enqueue(USAGE_IMPORT, actor=actor, now=now, payload={})
    wanted = UsageImport(
        job_id=job.id,
        recorded_by_id=recorded_by_id,
        filename=filename,
        size=file.size,
        sha256=file.sha256,
        path=file.path,
        is_dry_run=is_dry_run,
        created_at=now,
    )
    db.session.add(wanted)
    db.session.flush()
    facts = {"filename": filename, "sha256": file.sha256}
    _note("check" if is_dry_run else "import", wanted, actor, now, facts)
    return wanted


def start_checked(wanted: UsageImport, job: Job, *, actor: audit.Actor, now: datetime) -> None:
    """Queue the import of a file that was checked. Raises ImportNotStartable."""
    queued = enqueue(USAGE_IMPORT, actor=actor, now=now, payload={})
    is_ready = job.status == "completed" and wanted.path is not None
    begun = db.session.execute(
        update(UsageImport)
        .where(UsageImport.id == wanted.id, UsageImport.is_dry_run, UsageImport.job_id == job.id)
        .values(job_id=queued.id, is_dry_run=False, created_at=now, **_NOTHING_YET)
    )
    if not is_ready or not row_count(begun):
        raise ImportNotStartable("This cannot be imported from here. Send the file again.")
    db.session.execute(delete(RefusedLine).where(RefusedLine.import_id == wanted.id))
    _note("import", wanted, actor, now, {"sha256": wanted.sha256})


def resume_import(wanted: UsageImport, job: Job, *, actor: audit.Actor, now: datetime) -> None:
    """Queue an import that failed once more. Raises ImportEnded and JobNotFailed."""
    if wanted.cancelled_at is not None or wanted.path is None:
        raise ImportEnded("This import cannot go on. Send the file again: only the rest is added.")
    retry(job, actor=actor, now=now)


def cancel_import(wanted: UsageImport, job: Job, *, actor: audit.Actor, now: datetime) -> None:
    """Ask the worker to stop; what it has added stays. Raises ImportEnded.

    Not by the state of the job: the worker has to say how far it came.
    """
    cancelled = db.session.execute(
        update(UsageImport)
        .where(UsageImport.id == wanted.id, UsageImport.cancelled_at.is_(None))
        .values(cancelled_at=now)
    )
    if job.status not in OPEN_STATES or not row_count(cancelled):
        raise ImportEnded("This import has ended already.")
    _note("cancel", wanted, actor, now, {})


_NOTHING_YET = dict.fromkeys(("accepted", "duplicate", "conflict", "rejected"), 0)
_ACTIONS = {
    "check": "usage.check_requested",
    "import": "usage.import_requested",
    "cancel": "usage.import_cancelled",
}


def _note(
    what: str, wanted: UsageImport, actor: audit.Actor, now: datetime, facts: Mapping[str, Any]
) -> None:
    audit.record(
        _ACTIONS[what],
        actor=actor,
        now=now,
        object_type="usage_import",
        object_id=wanted.id,
        changes=dict(facts),
    )
