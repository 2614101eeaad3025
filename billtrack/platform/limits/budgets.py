"""What is counted apart from each other. The names are API: answers carry them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from billtrack.core.rates import Rate, parse_rate
from billtrack.platform.config import Settings


class Budget(StrEnum):
    """What is spent, each by a setting of its own."""

    USAGE = "usage"
    """Usage records that are stored, or read by id; of an API key."""
    API = "api"
    """All other requests; of an API key, or of the account that is signed in."""
    REPORTS = "reports"
    """Requests for reports; of an account, whatever it signs in with."""
    ADDRESS = "address"
    """Requests that bring no credential that holds; of an address."""


THINGS = {
    Budget.USAGE: "usage records",
    Budget.API: "requests",
    Budget.REPORTS: "requests for reports",
    Budget.ADDRESS: "requests without a valid credential",
}
"""What people call what is counted."""


def budget_rates(settings: Settings) -> Mapping[Budget, Rate | None]:
    """Return how much each budget holds; None for those that are off."""
    return {
        Budget.USAGE: parse_rate(settings.rate_usage),
        Budget.API: parse_rate(settings.rate_api),
        Budget.REPORTS: parse_rate(settings.rate_reports),
        Budget.ADDRESS: parse_rate(settings.rate_address),
    }
