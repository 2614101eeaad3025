"""What a price list says: charges, their tiers, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast, get_args

from billtrack.core.errors import FieldError, InvalidError
from billtrack.core.money import format_exact, parse_decimal

Model = Literal["per_unit", "graduated", "volume", "package"]

MODELS: tuple[str, ...] = get_args(Model)
TIERED_MODELS = frozenset({"graduated", "volume"})
MAX_TIERS = 100
MAX_UNITS = 10**18  # no day or month of a user and event may go beyond

ZERO = Fraction(0)

_CHARGE_KEYS = frozenset(
    {"meter", "model", "per", "included", "tiers", "unit_price", "minimum", "maximum"}
)
_TIER_KEYS = frozenset({"up_to", "unit_price", "flat_fee"})


class InvalidCharge(InvalidError):
    """A charge says something that cannot be; `errors` names each wrong field."""

    code = "invalid_charge"


@dataclass(frozen=True, slots=True)
class Tier:
    """The price of units through `up_to` (inclusive; None: without end)."""

    up_to: int | None
    unit_price: Fraction
    flat_fee: Fraction = ZERO


@dataclass(frozen=True, slots=True)
class Charge:
    """How one meter is priced; prices are major units per `per` base units."""

    meter: str
    model: Model
    per: int = 1
    included: int = 0
    tiers: tuple[Tier, ...] = ()
    unit_price: Fraction = ZERO
    minimum: Fraction | None = None
    maximum: Fraction | None = None


@dataclass(frozen=True, slots=True)
class PriceList:
    """One version of a plan; raises InvalidCharge if two charges price the same meter."""

    plan: str
    version: int
    currency: str
    base_fee: Fraction = ZERO
    minimum_commitment: Fraction = ZERO
    charges: tuple[Charge, ...] = ()

    def __post_init__(self) -> None:
        require_one_charge_per_meter(self.charges)

    def charge_for(self, meter: str) -> Charge | None:
        """Return the charge of a meter, or None when the list does not price it."""
        for charge in self.charges:
            if charge.meter == meter:
                return charge
        return None


def require_one_charge_per_meter(charges: Sequence[Charge]) -> None:
    """Refuse charges of which two price the same meter, by raising InvalidCharge."""
    seen: set[str] = set()
    for index, charge in enumerate(charges):
        if charge.meter in seen:
            detail = f"{charge.meter} already has a charge: leave one of them out"
            raise InvalidCharge.at(f"charges.{index}.meter", detail)
        seen.add(charge.meter)


def parse_charge(data: Mapping[str, object]) -> Charge:
    """Read a charge from its JSON form, equal for equal prices however they are written.

    Prices are decimals in strings, major units; `up_to` is inclusive. Raises InvalidCharge
    that names every wrong field, such as "tiers.1.up_to".
    """
    reader = _Reader()
    charge = _read_charge(reader, data)
    if reader.errors:
        first = reader.errors[0]
        raise InvalidCharge(f"{first.field}: {first.detail}", errors=reader.errors)
    return charge


def charge_to_json(charge: Charge) -> dict[str, object]:
    """Return the canonical JSON form: parse_charge reads it back to an equal charge."""
    prices: dict[str, object] = {"unit_price": format_exact(charge.unit_price)}
    if charge.model in TIERED_MODELS:
        prices = {"tiers": [_tier_to_json(tier) for tier in charge.tiers]}
    return {
        "meter": charge.meter,
        "model": charge.model,
        "per": charge.per,
        "included": charge.included,
        **prices,
        "minimum": None if charge.minimum is None else format_exact(charge.minimum),
        "maximum": None if charge.maximum is None else format_exact(charge.maximum),
    }


def _tier_to_json(tier: Tier) -> dict[str, object]:
    return {
        "up_to": tier.up_to,
        "unit_price": format_exact(tier.unit_price),
        "flat_fee": format_exact(tier.flat_fee),
    }


class _Reader:
    """Reads fields and collects what is wrong; a wrong field reads as a harmless value."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def refuse(self, field: str, detail: str) -> None:
        self.errors.append(FieldError(field, detail))

    def known_keys(self, path: str, data: Mapping[str, object], known: frozenset[str]) -> None:
        for key in sorted(str(key) for key in data if key not in known):
            self.refuse(path + key, "unknown field: remove it")

    def integer(self, field: str, value: object, *, least: int) -> int:
        # bool is an int to Python, but nobody means one unit by `true`.
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_UNITS:
            return value
        self.refuse(field, f"write an integer from {least} to 10^18")
        return least

    def price(self, field: str, value: object) -> Fraction:
        if not isinstance(value, str):
            self.refuse(field, 'write a decimal in quotes such as "0.50"')
            return ZERO
        try:
            price = parse_decimal(value)
        except ValueError as error:
            self.refuse(field, str(error))
            return ZERO
        if price < 0:
            self.refuse(field, "write 0 or more")
        return price

    def optional_price(self, field: str, value: object) -> Fraction | None:
        return None if value is None else self.price(field, value)


def _read_charge(reader: _Reader, data: Mapping[str, object]) -> Charge:
    reader.known_keys("", data, _CHARGE_KEYS)
    meter, model = data.get("meter"), data.get("model")
    if not isinstance(meter, str) or not meter:
        reader.refuse("meter", "name the meter, such as api_calls")
    if not isinstance(model, str) or model not in MODELS:
        reader.refuse("model", f"write one of {', '.join(MODELS)}")
        model = None
    minimum = reader.optional_price("minimum", data.get("minimum"))
    maximum = reader.optional_price("maximum", data.get("maximum"))
    if minimum is not None and maximum is not None and minimum > maximum:
        reader.refuse("minimum", "write no more than the maximum")
    tiers, unit_price = _read_prices(reader, data, model)
    return Charge(
        meter=str(meter),
        model=cast("Model", model),
        per=reader.integer("per", data.get("per", 1), least=1),
        included=reader.integer("included", data.get("included", 0), least=0),
        tiers=tiers,
        unit_price=unit_price,
        minimum=minimum or None,  # a minimum of 0 is none: equal prices must compare equal
        maximum=maximum,
    )


def _read_prices(
    reader: _Reader, data: Mapping[str, object], model: str | None
) -> tuple[tuple[Tier, ...], Fraction]:
    """Read the tiers or the unit price, whichever the model needs; the other must be absent."""
    if model is None:
        return (), ZERO
    needed, forbidden = "unit_price", "tiers"
    if model in TIERED_MODELS:
        needed, forbidden = forbidden, needed
    if data.get(forbidden) is not None:
        reader.refuse(forbidden, f"{model} has {needed}: remove {forbidden}")
    if data.get(needed) is None:
        reader.refuse(needed, f"{model} needs {needed}")
        return (), ZERO
    if needed == "tiers":
        return _read_tiers(reader, data["tiers"]), ZERO
    return (), reader.price("unit_price", data["unit_price"])


def _read_tiers(reader: _Reader, value: object) -> tuple[Tier, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_TIERS:
        reader.refuse("tiers", f"write a list of 1 to {MAX_TIERS} tiers")
        return ()
    tiers: list[Tier] = []
    above = 0
    for index, entry in enumerate(value):
        path = f"tiers.{index}"
        if not isinstance(entry, Mapping):
            reader.refuse(path, 'write an object such as {"up_to": null, "unit_price": "0.50"}')
            continue
        is_last = index == len(value) - 1
        tier = _read_tier(reader, path + ".", entry, above=above, is_last=is_last)
        above = above if tier.up_to is None else max(above, tier.up_to)
        tiers.append(tier)
    return tuple(tiers)


def _read_tier(
    reader: _Reader, path: str, entry: Mapping[str, object], *, above: int, is_last: bool
) -> Tier:
    reader.known_keys(path, entry, _TIER_KEYS)
    return Tier(
        up_to=_read_up_to(reader, path + "up_to", entry, above=above, is_last=is_last),
        unit_price=reader.price(path + "unit_price", entry.get("unit_price")),
        flat_fee=reader.price(path + "flat_fee", entry.get("flat_fee", "0")),
    )


def _read_up_to(
    reader: _Reader, field: str, entry: Mapping[str, object], *, above: int, is_last: bool
) -> int | None:
    """Read an inclusive upper bound: beyond the tier before it, null in the last tier only."""
    if "up_to" not in entry:
        reader.refuse(field, "write up_to; null in the last tier")
        return None
    up_to = entry["up_to"]
    if is_last:
        if up_to is not None:
            reader.refuse(field, "write null: the last tier has no end")
        return None
    if up_to is None:
        reader.refuse(field, "write an integer: only the last tier has no end")
        return None
    value = reader.integer(field, up_to, least=1)
    if value == up_to and value <= above:
        reader.refuse(field, f"write more than {above}: tiers ascend")
    return value
