"""How a line of a statement reads, for people and in the API."""

from __future__ import annotations

from collections.abc import Mapping

from billtrack.billing.pricing.lines import Line


def describe(line: Line, meter_names: Mapping[str, str]) -> str:
    """Return the text of a line, such as `VM uptime, 1 to 15 November`."""
    what = _subject(line, meter_names)
    if line.part is None or line.month is None or line.part == line.month.dates:
        return what
    return f"{what}, {line.part.first} to {line.part.last}"


def _subject(line: Line, meter_names: Mapping[str, str]) -> str:
    name = meter_names.get(line.meter or "", line.meter or "")
    return {
        "usage": name,
        "base_fee": "Base fee",
        "commitment": "Minimum commitment, top-up",
        "unpriced": f"{name} without a price",
    }[line.kind]
