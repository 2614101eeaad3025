"""How money, quantities and times are written: the one place for pages and documents.

Everything comes in as integers, exact decimal text, dates or aware instants and is
formatted without a float. English with ISO 4217 places; the minus is a real minus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from functools import partial
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime
from babel.numbers import get_currency_symbol
from flask import Flask
from markupsafe import Markup

from billtrack.core.money import minor_unit_places

LOCALE = "en"
COMPACT = [(10**9, 10**9, "B"), (10**6, 10**6, "M"), (10**4, 10**3, "k")]  # from, by, written
MINUS = "\N{MINUS SIGN}"
EXACT_QUANTITY_PLACES = 2
NO_BREAK = "\N{NO-BREAK SPACE}"

# A display unit as meters store it -> (what stands after a figure, the word in a sentence).
# Counted things are named by the meter itself, so nothing stands after their figure.
UNITS = {
    "call": ("", "calls"),
    "calls": ("", "calls"),
    "second": ("s", "seconds"),
    "hour": ("h", "hours"),
    "h": ("h", "hours"),
    "CPU-second": ("CPU-s", "CPU-seconds"),
    "CPU-hour": ("CPU-h", "CPU-hours"),
    "CPU-h": ("CPU-h", "CPU-hours"),
    "GB-hour": ("GB·h", "GB-hours"),
    "GB·h": ("GB·h", "GB-hours"),
}


@dataclass(frozen=True, slots=True)
class MeterView:
    """What pages show of a meter; `factor` is how many base units one display unit has."""

    code: str
    name: str
    base_unit: str
    display_unit: str
    factor: int
    colour: int  # 1 to 4, the same in every chart, dot and legend


def count(value: int) -> str:
    """Write a whole number with separators: 184,302."""
    return _grouped(Decimal(value), 0)


def money(minor: int, currency: str) -> str:
    """Write minor units with the currency's sign: $14,208.31."""
    return _with_sign(amount(minor, currency), currency)


def amount(minor: int, currency: str) -> str:
    """Write minor units without the sign, for columns whose head names it: 14,208.31."""
    places = minor_unit_places(currency)
    return _grouped(_shifted(minor, places), places)


def exact(text: str, currency: str) -> str:
    """Write an exact amount with all its places, never fewer than the currency has: 8.468."""
    value = Decimal(text)
    return _grouped(value, max(minor_unit_places(currency), _places(value)))


def rounded(text: str, currency: str) -> str:
    """Write an exact amount at the currency's places, half away from zero: 8.47."""
    return _grouped(Decimal(text), minor_unit_places(currency))


def number(value: int, meter: MeterView) -> str:
    """Write a quantity in the display unit, without it: 2,190.0."""
    if meter.factor == 1:
        return count(value)
    tenths, rest = divmod(abs(value) * 10, meter.factor)
    tenths += 2 * rest >= meter.factor
    return _grouped(_shifted(tenths if value >= 0 else -tenths, 1), 1)


def quantity(value: int, meter: MeterView) -> str:
    """Write a quantity with its unit: 2,190.0 h, 61,200 GB·h, and calls as 1,642,000."""
    return _with_unit(number(value, meter), meter.display_unit)


def unit(meter: MeterView) -> str:
    """Name the display unit in words: hours."""
    return UNITS.get(meter.display_unit, ("", meter.display_unit))[1]


def unit_suffix(meter: MeterView) -> str:
    """Write what the head of a column of bare figures says after the meter's name: ", h"."""
    symbol = UNITS.get(meter.display_unit, (meter.display_unit, ""))[0]
    return f", {symbol}" if symbol else ""


def base_unit(meter: MeterView) -> str:
    """Name the base unit, the one that records count in, in words: seconds."""
    return UNITS.get(meter.base_unit, ("", meter.base_unit))[1]


def bound(value: int, meter: MeterView) -> str:
    """Write a quantity exactly: in the display unit if that takes few places, else in the base."""
    for places in range(EXACT_QUANTITY_PLACES + 1):
        scaled, rest = divmod(value * 10**places, meter.factor)
        if not rest:
            text = _grouped(_shifted(scaled, places), places)
            return _with_unit(text, meter.display_unit)
    return _with_unit(count(value), meter.base_unit)


def tier_span(above: int, up_to: int | None, meter: MeterView) -> str:
    """Say which part of the quantity a tier prices: first 10,000; 10,000 to 100,000; above."""
    if up_to is None:
        return f"above {bound(above, meter)}" if above else "all"
    if not above:
        return f"first {bound(up_to, meter)}"
    return f"{bound(above, meter)} to {bound(up_to, meter)}"


def rate(unit_price: str, per: int, meter: MeterView, currency: str) -> str:
    """Say a price: free; $0.50 per 1,000; $0.0116 per hour; $0.025 per 730 GB·h."""
    if not Decimal(unit_price):
        return "free"
    price = _with_sign(exact(unit_price, currency), currency)
    whole, rest = divmod(per, meter.factor)
    if whole == 1 and not rest:
        return f"{price} per {unit(meter).removesuffix('s')}"
    if per == 1:
        return f"{price} per {base_unit(meter).removesuffix('s')}"
    return f"{price} per {bound(per, meter)}"


def flat_fee(text: str, currency: str) -> str:
    """Say what a tier costs besides its rate: " + $5.00 flat", or nothing."""
    if not Decimal(text):
        return ""
    return f" + {_with_sign(exact(text, currency), currency)} flat"


def percent(part: int, whole: int) -> str:
    """Write part of whole with one place, half up: 8.4 %; nothing for a whole of zero."""
    if not whole:
        return ""
    tenths = (abs(part) * 2000 + abs(whole)) // (2 * abs(whole))
    sign = -1 if (part < 0) != (whole < 0) else 1
    return _grouped(_shifted(sign * tenths, 1), 1) + f"{NO_BREAK}%"


def change(now: int, before: int) -> str:
    """Say how a figure moved: ↑ 8.4 %, ↓ 3.0 %, unchanged; nothing if there was none before."""
    if not before:
        return ""
    if now == before:
        return "unchanged"
    return ("↑ " if now > before else "↓ ") + percent(abs(now - before), before)


def axis_text(value: Fraction) -> str:
    """Write a round figure for the axis of a chart, shortly: 800, 0.05, 12k, 2.5M."""
    by, suffix = next(
        ((by, suffix) for least, by, suffix in COMPACT if abs(value) >= least), (1, "")
    )
    scaled = value / by
    places = next((n for n in range(12) if scaled * 10**n == int(scaled * 10**n)), 12)
    return _grouped(_shifted(int(scaled * 10**places), places), places) + suffix


def day(value: date) -> str:
    """Write a calendar date: 6 Nov 2026."""
    return format_date(value, "d MMM y", locale=LOCALE)


def day_short(value: date) -> str:
    """Write a date without its year, for the axis of a chart: 6 Nov."""
    return format_date(value, "d MMM", locale=LOCALE)


def month(value: date) -> str:
    """Name the month of a date: November 2026."""
    return format_date(value, "MMMM y", locale=LOCALE)


def day_range(first: date, last: date) -> str:
    """Write inclusive dates as shortly as they allow: 1–22 Nov 2026, November 2026."""
    if first.day == 1 and last == _month_end(first):
        return month(first)
    if first == last:
        return day(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{day(last)}"
    pattern = "d MMM" if first.year == last.year else "d MMM y"
    return f"{format_date(first, pattern, locale=LOCALE)} – {day(last)}"


def when(value: datetime, pattern: str = "d MMM y, HH:mm", *, zone: ZoneInfo) -> Markup:
    """Write an aware instant in the billing time zone, as a <time> that tells all on hover."""
    if value.tzinfo is None:
        raise ValueError("an instant must be aware, in UTC")
    local = value.astimezone(zone)
    return Markup('<time datetime="{}" title="{} {}">{}</time>').format(
        value.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        format_datetime(local, "EEEE, d MMMM y, HH:mm:ss", locale=LOCALE),
        zone.key,
        format_datetime(local, pattern, locale=LOCALE),
    )


def register_filters(app: Flask, *, timezone: str) -> None:
    """Make the filters known to the templates of `app`; `timezone` is the billing one."""
    zone = ZoneInfo(timezone)
    plain: list[Callable[..., str]] = [
        *(
            count,
            money,
            amount,
            exact,
            rounded,
            number,
            quantity,
            unit,
            unit_suffix,
            base_unit,
            bound,
        ),
        *(tier_span, rate, flat_fee, percent, change, day, month, day_range),
    ]
    app.jinja_env.filters.update({function.__name__: function for function in plain})
    app.jinja_env.filters["when"] = partial(when, zone=zone)
    app.jinja_env.filters["when_to_the_second"] = partial(
        when, pattern="d MMM, HH:mm:ss", zone=zone
    )


def _shifted(value: int, places: int) -> Decimal:
    """Move the point by `places`; from text, for arithmetic would round to the context."""
    return Decimal(f"{value}E-{places}")


def _grouped(value: Decimal, places: int) -> str:
    with localcontext(prec=80):
        fixed = value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
        text = f"{abs(fixed):,f}"  # what Babel writes in English, in a tenth of the time
    return MINUS + text if fixed < 0 else text


def _with_sign(text: str, currency: str) -> str:
    sign: str = get_currency_symbol(currency, locale=LOCALE)
    gap = NO_BREAK if sign[-1].isalpha() else ""
    if text.startswith(MINUS):
        return f"{MINUS}{sign}{gap}{text.removeprefix(MINUS)}"
    return f"{sign}{gap}{text}"


def _with_unit(text: str, name: str) -> str:
    symbol = UNITS.get(name, (name, ""))[0]
    return f"{text}{NO_BREAK}{symbol}" if symbol else text


def _places(value: Decimal) -> int:
    with localcontext(prec=80):
        exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _month_end(first: date) -> date:
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
