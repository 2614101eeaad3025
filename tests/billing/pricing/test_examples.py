from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from billtrack.billing.pricing.charges import charge_to_json, parse_charge
from billtrack.billing.pricing.rating import rate
from billtrack.billing.pricing.statement import price_usage
from billtrack.core.money import format_minor

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "cases.json").read_bytes())


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{c['why']}" for i, c in enumerate(CASES)])
def test_it_prices_every_worked_case(case: dict[str, Any]) -> None:
    charge = parse_charge(case["charge"])
    rated = rate(charge=charge, quantity=case["quantity"], currency=case["currency"])
    assert format_minor(rated.amount, case["currency"]) == case["amount"]
    assert parse_charge(charge_to_json(charge)) == charge


@pytest.mark.parametrize("case", CASES[:40], ids=range(40))
def test_it_quotes_what_it_rates(case: dict[str, Any]) -> None:
    charge = parse_charge(case["charge"])
    usage = {charge.meter: case["quantity"]}
    quote = price_usage(currency=case["currency"], charges=[charge], usage=usage)
    assert format_minor(quote.total, case["currency"]) == case["amount"]


def test_it_has_cases_to_run() -> None:
    assert len(CASES) >= 93
