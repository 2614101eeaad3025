"""Every page, for every role that may open it, as the demo data fills it.

A page that is added has to be entered here: tests/browser/test_pages.py compares the table
with the routes of the app and the permissions of each role.
"""

from __future__ import annotations

from billtrack.accounts.users.permissions import Role

EVERYBODY = (
    "/usage",
    "/docs/api",
    "/settings/profile",
    "/settings/second-factor",
    "/settings/sessions",
    "/settings/api-keys",
    "/settings/api-keys/new",
    "/settings/api-keys/{key}/rotate",
    "/settings/api-keys/{key}/revoke",
)
REPORTS = ("/reports", "/reports/jobs/{job}")
ACCOUNTS = (
    "/settings/accounts",
    "/settings/accounts/new",
    "/settings/accounts/{customer}",
    "/settings/accounts/{customer}/deactivate",
)
RECORDING = (
    *("/usage/imports", "/usage/imports/{import}", "/usage/reconciliation"),
    *("/journal", "/journal/sources/{source}", "/journal/rejected", "/journal/rejected/{refused}"),
)
MANAGED = (
    "/",
    "/customers",
    "/customers/{customer}",
    *ACCOUNTS,
    *REPORTS,
    *RECORDING,
    *EVERYBODY,
)
ERASE = "/settings/accounts/{customer}/erase"
OTHER_STATES = (
    "/?month={last_month}",
    "/customers?q=nobody",
    "/customers?role=provider&state=active",
    "/customers/{customer}?month={last_month}&show=api_calls",
    "/customers/{customer}?from={long_ago}&to={today}",
    "/customers/{silent}",
    "/usage?user_id=x&from=2026-11-02&to=2026-11-01",
    "/settings/api-keys?state=ended",
    "/settings/accounts?q=nobody&state=invited",
    "/settings/audit?who=nobody@test.example",
    "/journal/rejected?state=replayed",
    "/journal/rejected/{keyless}",
)
"""Pages that look otherwise when asked for otherwise: seen by one role."""

PAGES: dict[Role, tuple[str, ...]] = {
    Role.ADMIN: (*MANAGED, "/settings/audit", "/settings/health", ERASE, *OTHER_STATES),
    Role.MANAGER: MANAGED,
    Role.PROVIDER: ("/", *RECORDING, *EVERYBODY),
    Role.CUSTOMER: ("/", "/customers/{customer}?show=api_calls", *REPORTS, *EVERYBODY),
}
"""The names in braces are filled in by make_names() of tests/browser/test_looks.py."""

ERRORS = {"/no/such/page": 404, "/settings/health": 403}
"""What a customer gets who asks for these."""

NO_PAGES = {
    "dashboard.settings": "leads to the profile",
    "dashboard.export_usage": "a file",
    "dashboard.download": "a file",
    "dashboard.refused_lines": "a file",
    "dashboard.draw_second_factor": "a picture",
    "dashboard.check_usage_field": "a part of the usage page",
}
"""Endpoints that answer GET with no page of their own, and what they answer with."""

OPEN_PAGES = ("/sign-in", "/sign-in/code", "/set-up", "/forgot-password", "/choose-password")
BUILDERS_PAGES = ("/styleguide",)
"""Pages of the tests: tests/browser/test_new_installation.py opens them."""
