"""The few categories every expected error of billtrack belongs to.

A capability subclasses the category that fits and gives it a stable `code`;
`billtrack.platform.http` maps categories, and nothing else, to HTTP answers. A code is
API: it never changes meaning once released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of the request; `field` is its dotted path."""

    field: str
    detail: str


class BilltrackError(Exception):
    """An expected refusal. `detail` tells the reader what to do."""

    code: ClassVar[str] = "error"

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class UnparsableError(BilltrackError):
    """The request cannot be read at all (400)."""

    code = "unparsable"


class InvalidError(BilltrackError):
    """The request is well formed but says something that cannot be (422)."""

    code = "invalid"

    @classmethod
    def at(cls, field: str, detail: str) -> Self:
        """Return this error about one field, which it names."""
        return cls(detail, errors=(FieldError(field, detail),))


class UnauthenticatedError(BilltrackError):
    """Nobody we know asks (401)."""

    code = "unauthenticated"


class ForbiddenError(BilltrackError):
    """The role or the scopes lack the permission (403)."""

    code = "forbidden"


class NotFoundError(BilltrackError):
    """There is no such thing, or it is not theirs (404)."""

    code = "not_found"


class ConflictError(BilltrackError):
    """The state, a key or a version stands against it (409)."""

    code = "conflict"


class TooManyRequestsError(BilltrackError):
    """Somebody asks more often than is allowed (429); after `retry_after` seconds not any more."""

    code = "rate_limited"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class UnavailableError(BilltrackError):
    """A part that is needed is away for now; trying again later is right (503)."""

    code = "unavailable"


class UsageError(BilltrackError):
    """A command was used wrongly (exit code 2); never raised for HTTP."""

    code = "usage"
