"""The blueprint that every screen area adds its pages to, and what all pages share."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission

dashboard = Blueprint("dashboard", __name__)

NAVIGATION = (
    ("Overview", "dashboard.overview", Permission.PROFILE),
    ("Customers", "dashboard.customers", Permission.USERS_WRITE),
    ("Usage", "dashboard.usage", Permission.USAGE_READ),
    ("Journal", "dashboard.journal", Permission.JOURNAL_READ),
    ("Reports", "dashboard.reports", Permission.REPORTS_READ),
    ("API reference", "docs.api", Permission.PROFILE),
    ("Settings", "dashboard.settings", Permission.PROFILE),
)
SYSTEM = {"docs.api", "dashboard.settings"}

# Pages that belong to an entry without being it.
AREA_OF = {
    "dashboard.record_usage": "dashboard.usage",
    "dashboard.usage_imports": "dashboard.usage",
    "dashboard.import_usage": "dashboard.usage",
    "dashboard.usage_import": "dashboard.usage",
    "dashboard.reconciliation": "dashboard.usage",
    "dashboard.reconcile_usage": "dashboard.usage",
    "dashboard.journal_source": "dashboard.journal",
    "dashboard.rejected_records": "dashboard.journal",
    "dashboard.rejected_record": "dashboard.journal",
    "dashboard.replay_rejected": "dashboard.journal",
    "dashboard.generate_report": "dashboard.reports",
    "dashboard.report_job": "dashboard.reports",
    "dashboard.profile": "dashboard.settings",
    "dashboard.change_profile": "dashboard.settings",
    "dashboard.change_password": "dashboard.settings",
    "dashboard.second_factor": "dashboard.settings",
    "dashboard.propose_second_factor": "dashboard.settings",
    "dashboard.confirm_second_factor": "dashboard.settings",
    "dashboard.make_recovery_codes": "dashboard.settings",
    "dashboard.switch_second_factor_off": "dashboard.settings",
    "dashboard.sessions_page": "dashboard.settings",
    "dashboard.api_keys": "dashboard.settings",
    "dashboard.new_api_key": "dashboard.settings",
    "dashboard.create_api_key": "dashboard.settings",
    "dashboard.confirm_revoke_api_key": "dashboard.settings",
    "dashboard.confirm_rotate_api_key": "dashboard.settings",
    "dashboard.send_rotate_api_key": "dashboard.settings",
    "dashboard.system_health": "dashboard.settings",
    "dashboard.audit_log": "dashboard.settings",
    "dashboard.accounts": "dashboard.settings",
    "dashboard.new_account": "dashboard.settings",
    "dashboard.create_account": "dashboard.settings",
    "dashboard.account": "dashboard.settings",
    "dashboard.change_account": "dashboard.settings",
    "dashboard.confirm_deactivate_account": "dashboard.settings",
}


@dashboard.app_context_processor
def _shared() -> dict[str, Any]:
    who: access.Principal | None = g.get("principal")
    if who is None:
        return {"current_user": None, "nav": [], "request_id": g.get("request_id")}
    return {
        "current_user": {
            "id": who.user_id,
            "name": who.name,
            "role_label": who.role.value.capitalize(),
        },
        "nav": [
            {
                "label": label,
                "endpoint": endpoint,
                "active": _is_active(endpoint, who),
                "count": None,
                "group": "System" if endpoint in SYSTEM else "",
            }
            for label, endpoint, permission in NAVIGATION
            if who.may(permission)
        ],
        "request_id": g.get("request_id"),
    }


def _is_active(endpoint: str, who: access.Principal) -> bool:
    found = request.endpoint or ""
    if found == "dashboard.customer":
        # A customer's own page is its overview.
        found = "dashboard.customers" if who.may(Permission.USERS_WRITE) else "dashboard.overview"
    return endpoint == AREA_OF.get(found, found)
