"""Read imports and the lines that they refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Row, Select, select

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.core.errors import NotFoundError
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.usage.imports.models import RefusedLine, UsageImport
from billtrack.usage.imports.taking import Refusal

CHUNK = 1000


class ImportNotFound(NotFoundError):
    """There is no such import, or it is not theirs."""

    code = "usage_import_not_found"


def get_import(import_id: int, *, reach: Reach) -> tuple[UsageImport, Job]:
    """Return the import and its job as they stand. Raises ImportNotFound."""
    row = db.session.execute(_seen(reach).where(UsageImport.id == import_id)).one_or_none()
    if row is None:
        raise ImportNotFound(f"There is no import {import_id} that you can see.")
    return row[0], row[1]


def find_double(sha256: str, *, recorded_by_id: int) -> tuple[UsageImport, str] | None:
    """Return the newest import of the same file by another account, and that account's name.

    Keys are unique within an account, so its records would be recorded once more.
    """
    query = (
        select(UsageImport, User.name)
        .join(User, User.id == UsageImport.recorded_by_id)
        .where(
            UsageImport.sha256 == sha256,
            UsageImport.recorded_by_id != recorded_by_id,
            UsageImport.is_dry_run.is_(False),
            UsageImport.accepted + UsageImport.duplicate > 0,
        )
    )
    row = db.session.execute(query.order_by(UsageImport.id.desc()).limit(1)).one_or_none()
    return None if row is None else (row[0], row[1])


def list_imports(
    *, reach: Reach, before_id: int | None, limit: int
) -> Sequence[Row[UsageImport, Job]]:
    """Return up to `limit` imports with an id below `before_id`, the newest first."""
    query = _seen(reach).order_by(UsageImport.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(UsageImport.id < before_id)
    return db.session.execute(query).all()


def list_refused(import_id: int, *, after: int, limit: int) -> Sequence[Refusal]:
    """Return up to `limit` refused lines below line `after`, in the order of the file."""
    query = (
        select(RefusedLine.number, RefusedLine.cells, RefusedLine.code, RefusedLine.reason)
        .where(RefusedLine.import_id == import_id, RefusedLine.number > after)
        .order_by(RefusedLine.number)
        .limit(limit)
    )
    return [Refusal(*row) for row in db.session.execute(query)]


def stream_refused(import_id: int) -> Iterator[Sequence[Refusal]]:
    """Yield all refused lines, a thousand at a time."""
    after = 0
    while found := list_refused(import_id, after=after, limit=CHUNK):
        yield found
        after = found[-1].number


def _seen(reach: Reach) -> Select[UsageImport, Job]:
    query = select(UsageImport, Job).join(Job, Job.id == UsageImport.job_id)
    if reach.breadth is Breadth.ALL:
        return query
    return query.where(UsageImport.recorded_by_id == reach.user_id)
