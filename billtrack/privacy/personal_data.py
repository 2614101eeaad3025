"""What billtrack holds about a person: one query for each file of an export.

Secrets are no part of it: no digest of a password, key or token. A table that is added has to
be named here, or in tests/contracts/test_personal_data.py with the reason why not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Select, or_, select

from billtrack.accounts.users.models import ApiKey, OneTimeLink, TokenFamily, User, UserSession
from billtrack.billing.plans.models import Plan, PlanVersion, Subscription
from billtrack.documents.reports.models import Report
from billtrack.notifications.mail.models import Letter
from billtrack.platform.audit.models import AuditEntry, AuditPersonalValue
from billtrack.platform.jobs.models import Job
from billtrack.usage.imports.models import UsageImport
from billtrack.usage.records.models import Meter, UsageDaily, UsageRecord
from billtrack.usage.sources.models import RejectedRecord

Rows = Select[*tuple[Any, ...]]
Query = Callable[[int], Rows]


def _account(user_id: int) -> Rows:
    columns = (User.id, User.email, User.name, User.role, User.created_at, User.deactivated_at)
    has_password = User.password_hash.is_not(None).label("has_password")
    return select(*columns, has_password).where(User.id == user_id)


def _sessions(user_id: int) -> Rows:
    dates = (UserSession.created_at, UserSession.seen_at, UserSession.expires_at)
    where = (UserSession.address, UserSession.user_agent)
    query = select(UserSession.id, *dates, UserSession.revoked_at, *where)
    return query.where(UserSession.user_id == user_id).order_by(UserSession.id)


def _programs(user_id: int) -> Rows:
    dates = (TokenFamily.created_at, TokenFamily.renewed_at, TokenFamily.expires_at)
    where = (TokenFamily.address, TokenFamily.user_agent)
    query = select(TokenFamily.id, *dates, TokenFamily.revoked_at, *where)
    return query.where(TokenFamily.user_id == user_id).order_by(TokenFamily.id)


def _rejected(user_id: int) -> Rows:
    record = RejectedRecord
    what = (record.id, record.account_id, record.item, record.code, record.detail)
    query = select(*what, record.first_received_at, record.last_received_at)
    return query.where(record.user_id == user_id).order_by(record.id)


def _imports(user_id: int) -> Rows:
    what = (UsageImport.id, UsageImport.filename, UsageImport.size, UsageImport.created_at)
    query = select(*what).where(UsageImport.recorded_by_id == user_id)
    return query.order_by(UsageImport.id)


def _api_keys(user_id: int) -> Rows:
    dates = (ApiKey.created_at, ApiKey.expires_at, ApiKey.used_at, ApiKey.revoked_at)
    query = select(ApiKey.id, ApiKey.name, ApiKey.scopes, *dates)
    return query.where(ApiKey.user_id == user_id).order_by(ApiKey.id)


def _links(user_id: int) -> Rows:
    dates = (OneTimeLink.created_at, OneTimeLink.expires_at, OneTimeLink.used_at)
    query = select(OneTimeLink.id, OneTimeLink.purpose, *dates, OneTimeLink.ended_at)
    return query.where(OneTimeLink.user_id == user_id).order_by(OneTimeLink.id)


def _letters(user_id: int) -> Rows:
    what = (Letter.id, Letter.kind, Letter.address, Letter.name, Letter.context)
    dates = (Letter.created_at, Letter.expires_at, Letter.sent_at, Letter.failed_at)
    return select(*what, *dates).where(Letter.user_id == user_id).order_by(Letter.id)


def _subscriptions(user_id: int) -> Rows:
    plan = (Plan.code.label("plan"), Plan.name.label("plan_name"), Plan.currency)
    span = (Subscription.starts_on, Subscription.ends_on, Subscription.created_at)
    return (
        select(Subscription.id, *plan, PlanVersion.number.label("pinned_version"), *span)
        .join(Plan, Plan.id == Subscription.plan_id)
        .outerjoin(PlanVersion, PlanVersion.id == Subscription.plan_version_id)
        .where(Subscription.user_id == user_id)
        .order_by(Subscription.id)
    )


def _usage_records(user_id: int) -> Rows:
    record = UsageRecord
    what = (record.id, Meter.code.label("event"), record.quantity, Meter.base_unit.label("unit"))
    how = (record.occurred_at, record.created_at, record.recorded_by_id, record.origin)
    free = (record.idempotency_key, record.details.label("metadata"))
    query = select(*what, *how, *free, record.reverses_id, record.reason, record.variant)
    own = query.join(Meter, Meter.id == record.meter_id).where(record.user_id == user_id)
    return own.order_by(record.id)


def _daily_totals(user_id: int) -> Rows:
    what = (UsageDaily.day, Meter.code.label("event"), UsageDaily.quantity, UsageDaily.count)
    query = select(*what, UsageDaily.variant).join(Meter, Meter.id == UsageDaily.meter_id)
    return query.where(UsageDaily.user_id == user_id).order_by(
        UsageDaily.day, Meter.code, UsageDaily.variant
    )


def _reports(user_id: int) -> Rows:
    what = (Report.job_id, Report.first_on, Report.last_on, Report.format, Report.requested_at)
    query = select(*what, Job.status, Report.size).join(Job, Job.id == Report.job_id)
    return query.where(Report.user_id == user_id).order_by(Report.id)


def _jobs(user_id: int) -> Rows:
    query = select(Job.id, Job.kind, Job.status, Job.created_at, Job.finished_at)
    return query.where(Job.requested_by_id == user_id).order_by(Job.id)


def _audit_entries(user_id: int) -> Rows:
    entry, said = AuditEntry, AuditPersonalValue
    what = (entry.id, entry.at, entry.actor_user_id, entry.request_id, entry.action)
    query = select(*what, entry.object_type, entry.object_id, entry.changes)
    is_theirs = or_(
        entry.actor_user_id == user_id,
        (entry.object_type == "user") & (entry.object_id == user_id),
        entry.id.in_(select(said.entry_id).where(said.user_id == user_id)),
    )
    return query.where(is_theirs).order_by(entry.id)


def _audit_values(user_id: int) -> Rows:
    said = AuditPersonalValue
    query = select(said.entry_id, said.field, said.before, said.value)
    # What the same entries say about others is not theirs.
    return query.where(said.user_id == user_id).order_by(said.entry_id, said.field)


HOLDINGS: Mapping[str, Query] = {
    "account": _account,
    "subscriptions": _subscriptions,
    "usage_records": _usage_records,
    "usage_daily": _daily_totals,
    "rejected_records": _rejected,
    "usage_imports": _imports,
    "reports": _reports,
    "sessions": _sessions,
    "programs": _programs,
    "api_keys": _api_keys,
    "one_time_links": _links,
    "letters": _letters,
    "jobs": _jobs,
    "audit_entries": _audit_entries,
    "audit_values": _audit_values,
}
"""The files of an export, each with its query."""
