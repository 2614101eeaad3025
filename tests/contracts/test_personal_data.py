"""Every table is thought of when a person's data are handed out or erased."""

from __future__ import annotations

from pathlib import Path

from billtrack.entrypoints.app import create_app
from billtrack.platform.extensions import metadata
from billtrack.privacy.personal_data import HOLDINGS
from tests.conftest import make_settings

# table → the file of an export that holds it, or why none does. What is added here must be
# thought of in billtrack/privacy/erasure.py, too.
TABLES = {
    "api_keys": "api_keys",
    "audit_entries": "audit_entries",
    "audit_personal_values": "audit_values",
    "jobs": "jobs",
    "letters": "letters",
    "one_time_links": "one_time_links",
    "reports": "reports",
    "sessions": "sessions",
    "subscriptions": "subscriptions",
    "token_families": "programs",
    "usage_daily": "usage_daily",
    "usage_imports": "usage_imports",
    "usage_records": "usage_records",
    "usage_rejected_records": "rejected_records",
    "users": "account",
    "audit_head": "no: a hash",
    "command_keys": "no: answers of a day, repeated from other tables; erased",
    "installation": "no: nobody's",
    "meters": "no: nobody's",
    "month_summaries": "no: sums by number of account",
    "pending_sign_ins": "no: digests of five minutes; removed",
    "plan_charges": "no: nobody's",
    "plan_versions": "no: nobody's",
    "plans": "no: nobody's",
    "recovery_codes": "no: digests; removed",
    "refresh_tokens": "no: digests; removed with their programs",
    "second_factors": "no: a secret, encrypted; removed",
    "sign_in_tries": "no: digests that end within the hour; removed",
    "usage_import_refusals": "no: lines of files about many; removed by address",
    "usage_keys": "no: digests",
    "usage_monthly": "no: sums of usage_daily",
    "usage_source_hours": "no: counts",
    "usage_sources": "no: counts",
    "worker_heartbeats": "no: nobody's",
}


def test_every_table_is_exported_and_erased_or_says_why_not(tmp_path: Path) -> None:
    create_app(make_settings(tmp_path))  # knows every model
    assert set(metadata.tables) == set(TABLES)
    files = {where for where in TABLES.values() if not where.startswith("no: ")}
    assert files == set(HOLDINGS)
