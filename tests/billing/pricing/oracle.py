"""The contract's pricing once more, naively: unit by unit, day by day, from the JSON form.

It shares no code with billtrack.billing.pricing, so that the two can disagree.
"""

from __future__ import annotations

import math
from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from itertools import groupby
from typing import Any

Charge = Mapping[str, Any]
PLACES = {"JPY": 0, "USD": 2, "EUR": 2, "KWD": 3}


@dataclass(frozen=True)
class Priced:
    """What holds on one day: a span of days is a repetition of these."""

    plan: str
    version: int
    currency: str
    base_fee: str
    minimum_commitment: str
    charges: tuple[Charge, ...]


@dataclass(frozen=True)
class OracleLine:
    """The numbers of a line that a statement must agree with."""

    id: str
    kind: str
    meter: str | None
    plan: str | None
    version: int | None
    first: date
    last: date
    quantity: int
    exact: Fraction
    amount: int


def rounded(amount: Fraction, currency: str) -> int:
    """Half away from zero, by way of floor."""
    scale: int = 10 ** PLACES[currency]
    scaled = math.floor(abs(amount) * scale + Fraction(1, 2))
    return scaled if amount > 0 else -scaled


def model_amount(charge: Charge, quantity: int, included: int) -> Fraction:
    """Price the units one by one as they come."""
    per = charge.get("per", 1)
    units = range(1, quantity - included + 1)
    match charge["model"]:
        case "per_unit":
            return sum((Fraction(charge["unit_price"]) / per for _ in units), Fraction(0))
        case "package":
            opened = [unit for unit in units if (unit - 1) % per == 0]
            return Fraction(charge["unit_price"]) * len(opened)
        case "volume":
            if not units:
                return Fraction(0)
            tier = tier_of(charge, units[-1])
            fee = Fraction(tier.get("flat_fee", "0"))
            return sum((Fraction(tier["unit_price"]) / per for _ in units), fee)
        case _:
            return graduated_amount(charge, units, per)


def graduated_amount(charge: Charge, units: Iterable[int], per: int) -> Fraction:
    """Every unit pays in its tier; the first one there pays the fee too."""
    total = Fraction(0)
    entered: list[Any] = []
    for unit in units:
        tier = tier_of(charge, unit)
        if not any(tier is other for other in entered):
            entered.append(tier)
            total += Fraction(tier.get("flat_fee", "0"))
        total += Fraction(tier["unit_price"]) / per
    return total


def tier_of(charge: Charge, unit: int) -> Any:
    """The tier that contains the unit with this number, counted from 1."""
    return next(t for t in charge["tiers"] if t["up_to"] is None or unit <= t["up_to"])


def cost(charge: Charge, quantity: int, *, days: int, of: int, over: bool = True) -> Fraction:
    """Included, model, cap, floor; prorated to `days` of a month `of` days."""
    included = math.ceil(Fraction(charge.get("included", 0)) * days / of)
    amount = model_amount(charge, quantity, included)
    if charge.get("maximum") is not None:
        amount = min(amount, Fraction(charge["maximum"]) * days / of)
    if over and charge.get("minimum") is not None:
        amount = max(amount, Fraction(charge["minimum"]) * days / of)
    return amount


def same(charge: Charge) -> tuple[object, ...]:
    """What makes two charges identical, however their decimals are written."""
    tiers = [
        (tier["up_to"], Fraction(tier["unit_price"]), Fraction(tier.get("flat_fee", "0")))
        for tier in charge.get("tiers", [])
    ]
    bounds = [None if charge.get(name) is None else Fraction(charge[name]) for name in BOUNDS]
    bounds[1] = bounds[1] or None  # a minimum of 0 is no minimum
    return (charge["model"], charge.get("per", 1), charge.get("included", 0), *tiers, *bounds)


BOUNDS = ("unit_price", "minimum", "maximum")


class OracleMonth:
    """One month, day by day."""

    def __init__(
        self, first: date, prices: Mapping[date, Priced], usage: Mapping[str, Mapping[date, int]]
    ) -> None:
        self.length = monthrange(first.year, first.month)[1]
        self.days = [first + timedelta(days=shift) for shift in range(self.length)]
        self.prices = prices
        self.usage = usage

    def charge(self, meter: str, day: date) -> Charge | None:
        priced = self.prices.get(day)
        found = [c for c in priced.charges if c["meter"] == meter] if priced else []
        return found[0] if found else None

    def parts(self, key: Any) -> list[list[date]]:
        """Runs of days with the same key that is not None."""
        return [list(run) for value, run in groupby(self.days, key) if value is not None]

    def usage_parts(self, meter: str) -> list[list[date]]:
        def key(day: date) -> object:
            charge = self.charge(meter, day)
            return None if charge is None else (self.prices[day].currency, same(charge))

        return self.parts(key)

    def fee_parts(self, name: str) -> list[list[date]]:
        def key(day: date) -> object:
            priced = self.prices.get(day)
            fee = Fraction(getattr(priced, name)) if priced else 0
            return (priced.currency, fee) if priced and fee else None

        return self.parts(key)

    def usage_through(self, meter: str, part: Sequence[date], day: date) -> Fraction:
        """What a part has cost by the end of a day."""
        if day < part[0]:
            return Fraction(0)
        charge = self.charge(meter, part[0])
        assert charge is not None
        used = sum(self.usage.get(meter, {}).get(d, 0) for d in part if d <= day)
        return cost(charge, used, days=len(part), of=self.length, over=day >= part[-1])

    def fee_through(self, part: Sequence[date], day: date) -> Fraction:
        fee = Fraction(self.prices[part[0]].base_fee)
        return sum((fee / self.length for d in part if d <= day), Fraction(0))

    def through(self, meter: str | None, part: Sequence[date], day: date) -> Fraction:
        """What a part of a meter, or of the base fee (None), has cost by the end of a day."""
        if meter is None:
            return self.fee_through(part, day)
        return self.usage_through(meter, part, day)

    def between(
        self, meter: str | None, part: Sequence[date], window: Sequence[date]
    ) -> tuple[Fraction, int]:
        currency = self.prices[part[0]].currency
        after = self.through(meter, part, window[-1])
        before = self.through(meter, part, window[0] - timedelta(days=1))
        return after - before, rounded(after, currency) - rounded(before, currency)


def lines_of(
    *,
    period: Sequence[date],
    prices: Mapping[date, Priced],
    usage: Mapping[str, Mapping[date, int]],
    meters: Sequence[str],
) -> list[OracleLine]:
    """All lines of the days asked for, in their order."""
    lines: list[OracleLine] = []
    for _, days in groupby(period, lambda day: (day.year, day.month)):
        window = list(days)
        month = OracleMonth(window[0].replace(day=1), prices, usage)
        for meter in meters:
            lines += part_lines(month, "usage", meter, month.usage_parts(meter), window)
        lines += part_lines(month, "base_fee", None, month.fee_parts("base_fee"), window)
        lines += commitment_lines(month, window, meters)
        lines += unpriced_lines(month, window, meters)
    return lines


def part_lines(
    month: OracleMonth,
    kind: str,
    meter: str | None,
    parts: Sequence[Sequence[date]],
    window: Sequence[date],
) -> list[OracleLine]:
    lines = []
    for part in parts:
        own = [day for day in part if day in window]
        if own:
            exact, amount = month.between(meter, part, own)
            used = sum(month.usage.get(meter, {}).get(day, 0) for day in own) if meter else 0
            priced = month.prices[own[-1]]
            name = f"{part[0]:%Y-%m}/{kind}/" + (f"{meter}/" if meter else "") + f"{part[0]}"
            lines.append(
                OracleLine(
                    name,
                    kind,
                    meter,
                    priced.plan,
                    priced.version,
                    own[0],
                    own[-1],
                    used,
                    exact,
                    amount,
                )
            )
    return lines


def commitment_lines(
    month: OracleMonth, window: Sequence[date], meters: Sequence[str]
) -> list[OracleLine]:
    lines = []
    for part in month.fee_parts("minimum_commitment"):
        priced = month.prices[part[-1]]
        owners = [(None, run) for run in month.fee_parts("base_fee")]
        everything = owners + [(m, run) for m in meters for run in month.usage_parts(m)]
        counted = sum(month.between(m, run, part)[1] for m, run in everything if {*run} & {*part})
        committed = Fraction(priced.minimum_commitment) * len(part) / month.length
        missing = committed - Fraction(counted, 10 ** PLACES[priced.currency])
        if part[-1] in window and rounded(max(missing, Fraction(0)), priced.currency):
            amount = rounded(missing, priced.currency)
            name = f"{part[0]:%Y-%m}/commitment/{part[0]}"
            lines.append(
                OracleLine(
                    name,
                    "commitment",
                    None,
                    priced.plan,
                    priced.version,
                    part[0],
                    part[-1],
                    0,
                    missing,
                    amount,
                )
            )
    return lines


def unpriced_lines(
    month: OracleMonth, window: Sequence[date], meters: Sequence[str]
) -> list[OracleLine]:
    lines = []
    for meter in meters:
        days = [day for day in window if month.charge(meter, day) is None]
        quantity = sum(month.usage.get(meter, {}).get(day, 0) for day in days)
        if quantity:
            name = f"{window[0]:%Y-%m}/unpriced/{meter}"
            lines.append(
                OracleLine(
                    name,
                    "unpriced",
                    meter,
                    None,
                    None,
                    window[0],
                    window[-1],
                    quantity,
                    Fraction(0),
                    0,
                )
            )
    return lines
