"""The plan that every new database starts with."""

from __future__ import annotations

from typing import Any

from billtrack.billing.pricing.charges import Charge, parse_charge

CODE = "standard"
NAME = "Standard"
CURRENCY = "USD"

_CHARGES: tuple[dict[str, Any], ...] = (
    {
        "meter": "api_calls",
        "model": "graduated",
        "per": 1000,
        "tiers": [
            {"up_to": 10_000, "unit_price": "0"},
            {"up_to": 100_000, "unit_price": "0.50"},
            {"up_to": 1_000_000, "unit_price": "0.40"},
            {"up_to": None, "unit_price": "0.25"},
        ],
    },
    {
        "meter": "vm_uptime",
        "model": "graduated",
        "per": 3600,
        "tiers": [
            {"up_to": 2_628_000, "unit_price": "0.0116"},
            {"up_to": None, "unit_price": "0.0092"},
        ],
    },
    {
        "meter": "cpu_time",
        "model": "graduated",
        "per": 3600,
        "tiers": [
            {"up_to": 360_000, "unit_price": "0.048"},
            {"up_to": None, "unit_price": "0.040"},
        ],
    },
    {
        "meter": "data_storage",
        "model": "graduated",
        "per": 730,
        "tiers": [
            {"up_to": 36_500, "unit_price": "0.025"},
            {"up_to": None, "unit_price": "0.021"},
        ],
    },
)


def standard_charges() -> tuple[Charge, ...]:
    """Return the charges of the standard plan, in the order of its meters."""
    return tuple(parse_charge(charge) for charge in _CHARGES)
