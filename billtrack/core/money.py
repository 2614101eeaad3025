"""Money as integer minor units, exact amounts as fractions, and their texts."""

from __future__ import annotations

import re
from fractions import Fraction

EXACT_PLACES = 12
MAX_INTEGER_DIGITS = 18

_PLAIN_DECIMAL = re.compile(
    rf"-?[0-9]{{1,{MAX_INTEGER_DIGITS}}}(\.[0-9]{{1,{EXACT_PLACES}}})?", re.ASCII
)

# Active codes of ISO 4217 list one that have a minor unit, by its decimal places.
_CODES_BY_PLACES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD
        CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
        GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK
        LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO
        NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS
        SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST
        XAD XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_PLACES = {code: places for places, codes in _CODES_BY_PLACES.items() for code in codes.split()}


def minor_unit_places(currency: str) -> int:
    """Return how many decimal places the minor unit of a currency has (JPY 0, USD 2, KWD 3).

    Source: ISO 4217. Raises ValueError for a code that is not active there.
    """
    places = _PLACES.get(currency)
    if places is None:
        raise ValueError(
            f"{currency!r} is not an active ISO 4217 currency: "
            "write a code in capitals such as USD, EUR or JPY"
        )
    return places


def round_half_up(amount: Fraction, *, places: int) -> int:
    """Round an amount in major units to minor units, a half away from zero."""
    doubled = 2 * abs(amount.numerator) * 10**places + amount.denominator
    minor: int = doubled // (2 * amount.denominator)
    return minor if amount.numerator >= 0 else -minor


def format_minor(minor: int, currency: str) -> str:
    """Write minor units as major units with all places of the currency: 20500 USD is "205.00".

    Raises ValueError for an unknown currency.
    """
    return _with_point(minor, minor_unit_places(currency))


def major_units(minor: int, currency: str) -> Fraction:
    """Return minor units as an exact amount in major units.

    Raises ValueError for an unknown currency.
    """
    return Fraction(minor, 10 ** minor_unit_places(currency))


def parse_decimal(text: str) -> Fraction:
    """Read a plain decimal such as "0.50" or "-3".

    At most 18 digits before and 12 after the point; no exponent, plus sign, or space.
    Raises ValueError for anything else.
    """
    if not _PLAIN_DECIMAL.fullmatch(text):
        raise ValueError(
            f"write a plain decimal such as 0.50, at most {MAX_INTEGER_DIGITS} digits "
            f"before and {EXACT_PLACES} after the point"
        )
    return Fraction(text)


def printed_exact(amount: Fraction) -> Fraction:
    """Return the amount that format_exact prints: rounded half up at the 12th place."""
    return Fraction(round_half_up(amount, places=EXACT_PLACES), 10**EXACT_PLACES)


def format_exact(amount: Fraction) -> str:
    """Write an exact amount with at most 12 places and no trailing zeros: "0.5", "45", "0".

    An amount that does not end by then is rounded half up at the 12th place.
    """
    text = _with_point(round_half_up(amount, places=EXACT_PLACES), EXACT_PLACES)
    return text.rstrip("0").rstrip(".")


def _with_point(value: int, places: int) -> str:
    """Write an integer count of 10^-places with its decimal point."""
    sign = "-" if value < 0 else ""
    whole, part = divmod(abs(value), 10**places)
    return f"{sign}{whole}.{part:0{places}d}" if places else f"{sign}{whole}"
