"""Take the demo away again: what its accounts are and did among themselves, and nothing else.

The audit log is append-only and keeps its entries, without anything personal.

As soon as anything else touches a demo account, nothing is removed. Foreign keys are the last
guard: a table that this file does not know makes the whole transaction fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, delete, func, not_, or_, select

from billtrack.accounts.users.models import (
    ApiKey,
    OneTimeLink,
    PendingSignIn,
    RecoveryCode,
    RefreshToken,
    SecondFactor,
    TokenFamily,
    User,
    UserSession,
)
from billtrack.billing.month_totals.models import MonthSummary
from billtrack.billing.plans.models import Subscription
from billtrack.core.errors import ConflictError
from billtrack.core.periods import BillingCalendar, Month
from billtrack.documents.reports.models import Report
from billtrack.entrypoints.setup.demo import demo_emails
from billtrack.notifications.mail.models import Letter
from billtrack.platform import audit
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.audit.operations import erase_personal_values
from billtrack.platform.config import Settings
from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import db
from billtrack.platform.installation.queries import find_installation
from billtrack.platform.jobs.models import Job
from billtrack.platform.storage.storage import Storage
from billtrack.usage.imports.models import RefusedLine, UsageImport
from billtrack.usage.records.models import UsageDaily, UsageKey, UsageMonthly, UsageRecord
from billtrack.usage.sources.models import RejectedRecord, UsageSource, UsageSourceHour

REMOVED = "demo.removed"


class DemoInUse(ConflictError):
    """Something that is not of the demo was recorded for or by its accounts."""

    code = "demo_in_use"


def remove_demo(settings: Settings, storage: Storage, *, now: datetime) -> None:
    """Remove the accounts of the demo with all that is theirs; the next load begins anew.

    Owns its transaction. Raises DemoInUse, and removes nothing, when anything else was recorded
    for or by these accounts.
    """
    newest = Month.of(BillingCalendar(settings.timezone).today(now))
    _require_untouched(newest)
    folders = _folders()
    end_read()
    # Files go first: killed in between, the rows still say which files are to go.
    for folder in folders:
        storage.remove(folder)
    with transaction():
        # Whoever records for a demo account meanwhile waits here, and then finds it gone.
        db.session.execute(_users().with_for_update())
        db.session.execute(select(Job.id).where(Job.id.in_(_jobs())).with_for_update())
        _require_untouched(newest)
        _note_removal(now)
        _delete_all(db.session.scalars(_jobs()).all())
        found = find_installation()
        if found is not None:
            found.demo_loaded_at = None
    # The accounts that come next may get the same ids.
    db.session.expunge_all()


def _require_untouched(newest: Month) -> None:
    renamed = User.is_demo & User.email.not_in(demo_emails(newest))
    if address := db.session.scalar(select(User.email).where(renamed).limit(1)):
        raise DemoInUse(f"Nothing is removed: the demo account {address} was given that address.")
    running = Job.id.in_(_jobs()) & (Job.status == "running") & Job.worker_id.is_not(None)
    if db.session.scalar(select(Job.id).where(running).limit(1)) is not None:
        raise DemoInUse("Nothing is removed: a report of the demo is being made; try again soon.")
    for what, ids in _strangers().items():
        if (number := db.session.scalar(ids.limit(1))) is not None:
            raise DemoInUse(
                f"Nothing is removed: {what} {number} joins a demo account with one that is not "
                "of the demo."
            )


def _strangers() -> dict[str, Select[Any]]:
    """Return what joins an account of the demo with anything else, to be named by its id."""
    by, about = _is_by_demo(), _is_about_demo()
    by_others = AuditEntry.actor_user_id.not_in(_users())
    record, report = UsageRecord, Report
    others_report = select(report.job_id).where(report.user_id.not_in(_users()))
    demo_report = select(report.job_id).where(report.user_id.in_(_users()))
    return {
        "usage record": select(record.id).where(
            or_(
                and_(record.user_id.in_(_users()), record.recorded_by_id.not_in(_users())),
                and_(record.recorded_by_id.in_(_users()), record.user_id.not_in(_users())),
            )
        ),
        "job": select(Job.id).where(
            or_(
                and_(Job.requested_by_id.in_(_users()), Job.id.in_(others_report)),
                and_(Job.requested_by_id.not_in(_users()), Job.id.in_(demo_report)),
            )
        ),
        "audit entry": select(AuditEntry.id).where(
            AuditEntry.id > _last_removal(), or_(and_(by, not_(about)), and_(by_others, about))
        ),
    }


def _note_removal(now: datetime) -> None:
    """Leave what was done in the demo in the audit log, and nothing personal of it."""
    user_ids = db.session.scalars(_users()).all()
    erase_personal_values(user_ids)
    if user_ids:
        audit.record(REMOVED, actor=audit.Actor(), now=now, object_type="installation")


def _last_removal() -> ScalarSelect[int]:
    # Accounts that come later may have the numbers of those that the log names before.
    last = select(func.coalesce(func.max(AuditEntry.id), 0)).where(AuditEntry.action == REMOVED)
    return last.scalar_subquery()


def _delete_all(job_ids: Sequence[int]) -> None:
    records = select(UsageRecord.id).where(UsageRecord.user_id.in_(_users()))
    imports = select(UsageImport.id).where(_imported())
    for statement in (
        delete(UsageKey).where(UsageKey.record_id.in_(records)),
        delete(UsageRecord).where(UsageRecord.user_id.in_(_users())),
        delete(UsageDaily).where(UsageDaily.user_id.in_(_users())),
        delete(UsageMonthly).where(UsageMonthly.user_id.in_(_users())),
        delete(RejectedRecord).where(RejectedRecord.account_id.in_(_users())),
        delete(UsageSourceHour).where(UsageSourceHour.account_id.in_(_users())),
        delete(UsageSource).where(UsageSource.account_id.in_(_users())),
        delete(MonthSummary),  # counted over all customers, and counted again
        delete(Report).where(Report.job_id.in_(job_ids)),
        delete(OneTimeLink).where(OneTimeLink.user_id.in_(_users())),
        delete(Letter).where(Letter.job_id.in_(job_ids)),
        delete(RefusedLine).where(RefusedLine.import_id.in_(imports)),
        delete(UsageImport).where(_imported()),
        delete(Job).where(Job.id.in_(job_ids)),
        delete(Subscription).where(Subscription.user_id.in_(_users())),
        delete(PendingSignIn).where(PendingSignIn.user_id.in_(_users())),
        delete(RecoveryCode).where(RecoveryCode.user_id.in_(_users())),
        delete(SecondFactor).where(SecondFactor.user_id.in_(_users())),
        delete(UserSession).where(UserSession.user_id.in_(_users())),
        delete(RefreshToken).where(RefreshToken.family_id.in_(_families())),
        delete(TokenFamily).where(TokenFamily.user_id.in_(_users())),
        delete(ApiKey).where(ApiKey.user_id.in_(_users())),
        delete(User).where(User.is_demo),
    ):
        db.session.execute(statement, execution_options={"synchronize_session": False})


def _folders() -> list[str]:
    """Return the folders of the storage that hold reports and imports of the demo."""
    paths = db.session.scalars(
        select(UsageImport.path).where(UsageImport.path.is_not(None), _imported())
    )
    imports = [path.partition("/")[0] for path in paths if path]
    return [*(str(job_id) for job_id in db.session.scalars(_jobs())), *imports]


def _imported() -> ColumnElement[bool]:
    return UsageImport.recorded_by_id.in_(_users())


def _users() -> Select[int]:
    return select(User.id).where(User.is_demo)


def _families() -> Select[int]:
    return select(TokenFamily.id).where(TokenFamily.user_id.in_(_users()))


def _jobs() -> Select[int]:
    about = select(Report.job_id).where(Report.user_id.in_(_users()))
    to_them = select(Letter.job_id).where(Letter.user_id.in_(_users()))
    is_theirs = or_(Job.requested_by_id.in_(_users()), Job.id.in_(about), Job.id.in_(to_them))
    return select(Job.id).where(is_theirs)


def _is_by_demo() -> ColumnElement[bool]:
    return AuditEntry.actor_user_id.in_(_users())


def _is_about_demo() -> ColumnElement[bool]:
    objects: dict[str, Select[int]] = {
        "user": _users(),
        "subscription": select(Subscription.id).where(Subscription.user_id.in_(_users())),
        "usage_import": select(UsageImport.id).where(_imported()),
        "usage_record": select(UsageRecord.id).where(UsageRecord.user_id.in_(_users())),
        "job": _jobs(),
        "session": select(UserSession.id).where(UserSession.user_id.in_(_users())),
        "token_family": _families(),
        "api_key": select(ApiKey.id).where(ApiKey.user_id.in_(_users())),
    }
    # An entry about no object at all is about no object of the demo: never unknown.
    object_id = func.coalesce(AuditEntry.object_id, 0)
    return or_(
        *(and_(AuditEntry.object_type == kind, object_id.in_(ids)) for kind, ids in objects.items())
    )
