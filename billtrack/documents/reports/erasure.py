"""Remove the files of reports that name a person whose data are erased.

The reports stay, without their files. One that is being made at that moment is made once more
when it ends, see `reports.build`, and then names nobody.
"""

from __future__ import annotations

from sqlalchemy import func, select, update

from billtrack.documents.reports.models import Report
from billtrack.platform.db import end_read
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import OPEN_STATES, Job
from billtrack.platform.storage.storage import Storage


def count_files(user_id: int) -> int:
    """Return how many files of reports about the account there are."""
    query = select(func.count()).select_from(Report)
    return db.session.scalar(query.where(Report.user_id == user_id, Report.path.is_not(None))) or 0


def forget_files(user_id: int) -> int:
    """Let nobody download the files any more; return the id of the last report, or 0.

    The caller owns the transaction, and has locked the account: nobody asks for a report then.
    """
    db.session.execute(update(Report).where(Report.user_id == user_id).values(path=None))
    return db.session.scalar(select(func.max(Report.id)).where(Report.user_id == user_id)) or 0


def remove_files(storage: Storage, user_id: int, *, last_id: int) -> bool:
    """Remove the files that reports about the account left, through the one with this id.

    Tells whether all of these reports have ended, so that nothing more can come. Raises what
    the storage raises; safe to run again.
    """
    query = (
        select(Job.id, Job.status, Job.attempt, Report.path)
        .join(Report, Report.job_id == Job.id)
        .where(Report.user_id == user_id, Report.id <= last_id)
    )
    jobs = db.session.execute(query.order_by(Job.id)).all()
    end_read()
    for job_id, status, attempt, path in jobs:
        if path is not None:  # made since then, and names nobody
            for earlier in range(1, attempt):
                storage.remove(f"{job_id}/{earlier}")
        elif status not in OPEN_STATES:
            storage.remove(str(job_id))
    return all(status not in OPEN_STATES for _, status, _, _ in jobs)
