"""POST /usage/: a record is stored together with those that come at the same moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from wsgiref.types import WSGIEnvironment

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from billtrack.access import Principal
from billtrack.accounts import api_keys
from billtrack.accounts.permissions import Permission
from billtrack.api.v1.usage import NewUsage, location_of, to_input
from billtrack.core.errors import BilltrackError
from billtrack.express.answers import Answer, Refusal, answer_with
from billtrack.express.plain import find_owner, may_spend, plain_body, plain_secret
from billtrack.extensions import app_combiner, current_calendar, current_settings
from billtrack.usage import intake
from billtrack.usage.journal.refusing import note_refused
from billtrack.usage.submissions import Submission, Terms, UsageInput

PATHS = frozenset({"/api/v1/usage", "/api/v1/usage/"})
ROUTE = "/api/v1/usage/"


@dataclass(frozen=True, slots=True)
class _Asked:
    secret: str
    item: UsageInput
    now: datetime


@dataclass(frozen=True, slots=True)
class _Done:
    who: Principal
    outcome: intake.Outcome


def record(environ: WSGIEnvironment) -> Answer | Refusal | None:
    """Store the record and answer with it, or return None, having done nothing.

    What was refused is decided, and must not be tried again: a record without a key, of which
    it is not known whether it is stored, would be billed twice.
    """
    secret, body = plain_secret(environ), plain_body(environ)
    if secret is None or body is None:
        return None
    try:
        sent = NewUsage.model_validate_json(body)
    except ValidationError:
        return None
    item = to_input(sent, sent.idempotency_key)
    asked = _Asked(secret, item, datetime.now(UTC))
    done = app_combiner(record_together, at_most=intake.AT_ONCE).ask(asked)
    if done is None:
        return None
    try:
        stored, is_new = intake.get_answer(item, done.outcome)
    except BilltrackError as error:
        note_refused(item, error, terms=_terms(done.who, asked))
        return Refusal(error, done.who)
    status = "201 CREATED" if is_new else "200 OK"
    return answer_with(stored, status, ROUTE, done.who, location=location_of(stored))


def record_together(asked: Sequence[_Asked]) -> list[_Done | None]:
    """Look the keys up, then store what their owners may record.

    A database that refuses is met again on the long way, where each is tried by itself.
    """
    done: list[_Done | None] = [None] * len(asked)
    try:
        owners = _owners(asked)
        if not owners:
            return done
        outcomes = intake.submit_together(_submissions(asked, owners))
    except SQLAlchemyError:
        return done
    for (place, who), outcome in zip(owners.items(), outcomes, strict=True):
        done[place] = _Done(who, outcome)
    return done


def _owners(asked: Sequence[_Asked]) -> dict[int, Principal]:
    keys = api_keys.find_together([one.secret for one in asked])
    found = (
        (place, find_owner(key, Permission.USAGE_RECORD, now=one.now))
        for place, (one, key) in enumerate(zip(asked, keys, strict=True))
    )
    return {place: who for place, who in found if who is not None and may_spend(who)}


def _submissions(asked: Sequence[_Asked], owners: Mapping[int, Principal]) -> list[Submission]:
    calendar, backfill_days = current_calendar(), current_settings().backfill_days
    return [
        Submission(
            asked[place].item,
            Terms(
                recorded_by_id=who.user_id,
                now=asked[place].now,
                calendar=calendar,
                backfill_days=backfill_days,
            ),
        )
        for place, who in owners.items()
    ]


def _terms(who: Principal, asked: _Asked) -> Terms:
    return Terms(who.user_id, asked.now, current_calendar(), current_settings().backfill_days)
