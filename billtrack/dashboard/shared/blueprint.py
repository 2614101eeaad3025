"""The blueprint that every area adds its pages to, and the menu.

The area of a page is the package of its view, so a new page needs no entry here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, current_app, g, request

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission

dashboard = Blueprint("dashboard", __name__)

PACKAGE = "billtrack.dashboard."


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """One line of the menu: where it leads, and who sees it."""

    label: str
    endpoint: str
    permission: Permission
    group: str = ""


MENU = {
    "overview": MenuEntry("Overview", "dashboard.overview", Permission.PROFILE),
    "customers": MenuEntry("Customers", "dashboard.customers", Permission.USERS_WRITE),
    "usage": MenuEntry("Usage", "dashboard.usage", Permission.USAGE_READ),
    "sources": MenuEntry("Sources", "dashboard.journal", Permission.JOURNAL_READ),
    "reports": MenuEntry("Reports", "dashboard.reports", Permission.REPORTS_READ),
    "api_reference": MenuEntry("API reference", "docs.api", Permission.PROFILE, "System"),
    "settings": MenuEntry("Settings", "dashboard.settings", Permission.PROFILE, "System"),
}
"""The menu in its order, by area."""

WITHOUT_ENTRY = {"sign_in"}
"""Areas that are not in the menu."""


def area_of(endpoint: str) -> str | None:
    """Return the area of a page; None if it is no page of the dashboard."""
    view = current_app.view_functions.get(endpoint)
    module = "" if view is None else view.__module__
    return module.removeprefix(PACKAGE).split(".")[0] if module.startswith(PACKAGE) else None


@dashboard.app_context_processor
def _shared() -> dict[str, Any]:
    who: access.Principal | None = g.get("principal")
    if who is None:
        return {"current_user": None, "nav": [], "request_id": g.get("request_id")}
    active = _active_area(who)
    return {
        "current_user": {
            "id": who.user_id,
            "name": who.name,
            "role_label": who.role.value.capitalize(),
        },
        "nav": [
            {
                "label": entry.label,
                "endpoint": entry.endpoint,
                "active": area == active or entry.endpoint == request.endpoint,
                "count": None,
                "group": entry.group,
            }
            for area, entry in MENU.items()
            if who.may(entry.permission)
        ],
        "request_id": g.get("request_id"),
    }


def _active_area(who: access.Principal) -> str | None:
    area = area_of(request.endpoint or "")
    # A customer's own page is its overview.
    is_own = area == "customers" and not who.may(MENU["customers"].permission)
    return "overview" if is_own else area
