"""POST /usage/: a record is stored together with those that come at the same moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from wsgiref.types import WSGIEnvironment

from sqlalchemy.exc import SQLAlchemyError

from billtrack.accounts.access import Principal
from billtrack.accounts.credentials import api_keys
from billtrack.accounts.users.permissions import Permission
from billtrack.api.v1.usage import location_of
from billtrack.core.errors import BilltrackError
from billtrack.entrypoints.server.fast_path.answers import Answer, Refusal, answer_with
from billtrack.entrypoints.server.fast_path.plain_requests import find_owner, may_spend, plain_body
from billtrack.usage.ingest import intake
from billtrack.usage.ingest.schema import read_json
from billtrack.usage.records.outcomes import Outcome
from billtrack.usage.records.submissions import Submission, Terms, UsageInput, terms_of

PATHS = frozenset({"/api/v1/usage", "/api/v1/usage/"})
ROUTE = "/api/v1/usage/"


@dataclass(frozen=True, slots=True)
class Asked:
    """A record that somebody asks to have stored: by which key, and when."""

    secret: str
    item: UsageInput
    now: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """Who asked, and what became of the record."""

    who: Principal
    outcome: Outcome


def is_wanted(environ: WSGIEnvironment) -> bool:
    """Tell whether a record is to be stored."""
    return environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] in PATHS


def read_request(environ: WSGIEnvironment, secret: str) -> Asked | None:
    """Return what is asked for with this key, or None where it is not plain."""
    body = plain_body(environ)
    if body is None:
        return None
    item = read_json(body)
    return None if item is None else Asked(secret, item, datetime.now(UTC))


def answer(asked: Asked, done: Done) -> Answer | Refusal:
    """Answer with the record, or with what refused it.

    What was refused is decided, and must not be tried again: a record without a key, of which
    it is not known whether it is stored, would be billed twice.
    """
    try:
        stored, is_new = intake.get_answer(asked.item, done.outcome)
    except BilltrackError as error:
        return Refusal(error, done.who)
    status = "201 CREATED" if is_new else "200 OK"
    return answer_with(stored, status, ROUTE, done.who, location=location_of(stored))


def record_together(asked: Sequence[Asked]) -> list[Done | None]:
    """Look the keys up, then store what their owners may record.

    A database that refuses is met again on the long way, where each is tried by itself.
    """
    done: list[Done | None] = [None] * len(asked)
    try:
        owners = _owners(asked)
        if not owners:
            return done
        outcomes = intake.submit_together(_submissions(asked, owners))
    except SQLAlchemyError:
        return done
    for (place, who), outcome in zip(owners.items(), outcomes, strict=True):
        done[place] = Done(who, outcome)
    return done


def _owners(asked: Sequence[Asked]) -> dict[int, Principal]:
    keys = api_keys.find_together([one.secret for one in asked])
    found = (
        (place, find_owner(key, Permission.USAGE_RECORD, now=one.now))
        for place, (one, key) in enumerate(zip(asked, keys, strict=True))
    )
    return {place: who for place, who in found if who is not None and may_spend(who)}


def _submissions(asked: Sequence[Asked], owners: Mapping[int, Principal]) -> list[Submission]:
    return [
        Submission(asked[place].item, terms(who, asked[place])) for place, who in owners.items()
    ]


def terms(who: Principal, asked: Asked) -> Terms:
    """Return the terms under which the record was sent."""
    return terms_of(who.user_id, asked.now, keeps_refused=True)
