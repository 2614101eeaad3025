"""Many instants as text, in a third of the time that each by itself takes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic_core import to_json


def as_json_texts(instants: Iterable[datetime | None]) -> list[str]:
    """Return each as JSON has it, in UTC: `"2026-11-25T20:46:50.531640Z"`, or null."""
    given = [None if at is None else at.astimezone(UTC) for at in instants]
    return to_json(given).decode()[1:-1].split(",") if given else []
