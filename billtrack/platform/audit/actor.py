"""Who acts: plain ids, so that every room can pass it on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """The account, key and address behind an operation; all None means billtrack itself."""

    user_id: int | None = None
    api_key_id: int | None = None
    address: str | None = None
    request_id: str | None = None


SYSTEM = Actor()
"""billtrack itself: the command line, set-up and demo data."""
