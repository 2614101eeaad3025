"""One charge and a quantity become an explained amount."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from billtrack.billing.pricing.charges import ZERO, Charge
from billtrack.core.money import minor_unit_places, round_half_up

Applied = Literal["minimum", "maximum"]


@dataclass(frozen=True, slots=True)
class RatedTier:
    """What one tier prices: `quantity` of its units, above `above` through `up_to` inclusive.

    `flat_fee` is the fee charged; `amount` contains it. Both are major units.
    """

    above: int
    up_to: int | None
    quantity: int
    unit_price: Fraction
    per: int
    flat_fee: Fraction
    amount: Fraction


@dataclass(frozen=True, slots=True)
class Rated:
    """A priced quantity: the tiers sum to `model_amount`; `exact_amount` is after cap and floor.

    `amount` is minor units, rounded once; all other amounts are exact major units.
    """

    quantity: int
    included: int
    billable_quantity: int
    tiers: tuple[RatedTier, ...]
    model_amount: Fraction
    applied: Applied | None
    exact_amount: Fraction
    amount: int


def rate(*, charge: Charge, quantity: int, currency: str) -> Rated:
    """Price a quantity of base units: included, model, maximum, minimum, then round once.

    Raises ValueError for an unknown currency.
    """
    billable = max(0, quantity - charge.included)
    tiers = _rated_tiers(charge, billable)
    model_amount = _sum_of(tiers)
    applied = _applied_bound(charge, model_amount)
    exact = _bounded(charge, model_amount, applied)
    return Rated(
        quantity=quantity,
        included=charge.included,
        billable_quantity=billable,
        tiers=tiers,
        model_amount=model_amount,
        applied=applied,
        exact_amount=exact,
        amount=round_half_up(exact, places=minor_unit_places(currency)),
    )


def _rated_tiers(charge: Charge, billable: int) -> tuple[RatedTier, ...]:
    if billable == 0:
        return ()
    match charge.model:
        case "graduated":
            return _graduated(charge, billable)
        case "volume":
            return _volume(charge, billable)
        case "package":
            packages = -(-billable // charge.per)
            return (_untiered(charge, billable, charge.unit_price * packages),)
        case "per_unit":
            amount = _times(charge.unit_price, billable, charge.per)
            return (_untiered(charge, billable, amount),)


def _graduated(charge: Charge, billable: int) -> tuple[RatedTier, ...]:
    """Price each tier's own slice of the quantity."""
    rated: list[RatedTier] = []
    above = 0
    for tier in charge.tiers:
        reached = billable if tier.up_to is None else min(billable, tier.up_to)
        amount = _times(tier.unit_price, reached - above, charge.per)
        if tier.flat_fee:
            amount += tier.flat_fee
        rated.append(
            RatedTier(
                above,
                tier.up_to,
                reached - above,
                tier.unit_price,
                charge.per,
                tier.flat_fee,
                amount,
            )
        )
        if reached == billable:
            break
        above = reached
    return tuple(rated)


def _volume(charge: Charge, billable: int) -> tuple[RatedTier, ...]:
    """Price the whole quantity in the one tier that contains it."""
    above = 0
    for tier in charge.tiers:
        if tier.up_to is None or billable <= tier.up_to:
            break
        above = tier.up_to
    amount = _times(tier.unit_price, billable, charge.per) + tier.flat_fee
    return (
        RatedTier(above, tier.up_to, billable, tier.unit_price, charge.per, tier.flat_fee, amount),
    )


def _untiered(charge: Charge, billable: int, amount: Fraction) -> RatedTier:
    return RatedTier(0, None, billable, charge.unit_price, charge.per, ZERO, amount)


def _times(unit_price: Fraction, units: int, per: int) -> Fraction:
    """Return unit_price * units / per in one reduction; a third of the time of two."""
    return Fraction(unit_price.numerator * units, unit_price.denominator * per)


def _sum_of(tiers: tuple[RatedTier, ...]) -> Fraction:
    amounts = [tier.amount for tier in tiers if tier.amount]
    return sum(amounts[1:], amounts[0]) if amounts else ZERO


def _applied_bound(charge: Charge, amount: Fraction) -> Applied | None:
    """Tell which bound replaces the amount; minimum never exceeds maximum, so one at most."""
    if charge.maximum is not None and amount > charge.maximum:
        return "maximum"
    if charge.minimum is not None and amount < charge.minimum:
        return "minimum"
    return None


def _bounded(charge: Charge, amount: Fraction, applied: Applied | None) -> Fraction:
    bound = {"maximum": charge.maximum, "minimum": charge.minimum, None: None}[applied]
    return amount if bound is None else bound
