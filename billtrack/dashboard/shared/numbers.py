"""Numbers in the query of an address."""

from __future__ import annotations

from flask import request

MAX_DIGITS = 18


def read_number(name: str) -> int | None:
    """Return the argument as a number of at most 18 digits, or None for anything else."""
    text = request.args.get(name, "")
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    return int(text) if is_number else None
