"""Sizes of files in words."""

from __future__ import annotations

NO_BREAK = "\N{NO-BREAK SPACE}"
UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def file_size(count: int) -> str:
    """Write bytes in the greatest unit that fits, to a tenth, rounded down: 1.2 GB."""
    for name, unit in UNITS:
        if count >= unit:
            whole, tenths = divmod(count * 10 // unit, 10)
            return f"{whole:,}.{tenths}{NO_BREAK}{name}"
    return f"{count}{NO_BREAK}B"
