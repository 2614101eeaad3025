"""What is answered on the short way, in the form in which the routes answer."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic_core import to_json

from billtrack.accounts.access import Principal
from billtrack.api.v1.usage import record_json
from billtrack.core.errors import BilltrackError
from billtrack.usage.records.queries import RecordView


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and who got it; `status` is the status line, `route` the pattern of the path."""

    status: str
    body: bytes
    route: str
    who: Principal
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What refused the request, once it was known who asks."""

    error: BilltrackError
    who: Principal


def answer_with(
    record: RecordView, status: str, route: str, who: Principal, *, location: str | None = None
) -> Answer:
    """Return the record as the routes write it."""
    # Not checked once more: the values come from the database or were just stored.
    body = to_json(record_json(record), ensure_ascii=True) + b"\n"
    return Answer(status, body, route, who, location)
