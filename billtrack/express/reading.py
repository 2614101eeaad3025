"""GET /usage/:id: a record is read together with those that others ask for at the moment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from wsgiref.types import WSGIEnvironment

from sqlalchemy.exc import SQLAlchemyError

from billtrack.access import Principal
from billtrack.accounts import api_keys
from billtrack.accounts.permissions import Permission
from billtrack.express.answers import Answer, answer_with
from billtrack.express.plain import find_owner, may_spend, plain_secret
from billtrack.extensions import app_combiner
from billtrack.usage import lookup
from billtrack.usage.queries import RecordView

PATH = re.compile(r"/api/v1/usage/([1-9][0-9]{0,17})/?", re.ASCII)
ROUTE = "/api/v1/usage/<id:record_id>"


@dataclass(frozen=True, slots=True)
class _Asked:
    secret: str
    record_id: int
    now: datetime


@dataclass(frozen=True, slots=True)
class _Found:
    who: Principal
    record: RecordView


def read(environ: WSGIEnvironment, record_id: int) -> Answer | None:
    """Answer with the record, or return None."""
    secret = plain_secret(environ)
    if secret is None or environ.get("QUERY_STRING"):
        return None
    asked = _Asked(secret, record_id, datetime.now(UTC))
    found = app_combiner(read_together, at_most=lookup.AT_ONCE).ask(asked)
    return answer_with(found.record, "200 OK", ROUTE, found.who) if found else None


def read_together(asked: Sequence[_Asked]) -> list[_Found | None]:
    """Look keys and records up; a database that refuses is met again on the long way."""
    try:
        keys = api_keys.find_together([one.secret for one in asked])
        records = lookup.find_together([one.record_id for one in asked])
    except SQLAlchemyError:
        return [None] * len(asked)
    return [_found(one, key, record) for one, key, record in zip(asked, keys, records, strict=True)]


def _found(one: _Asked, key: api_keys.LiveKey | None, record: RecordView | None) -> _Found | None:
    who = find_owner(key, Permission.USAGE_READ, now=one.now)
    if who is None or record is None:
        return None
    is_theirs = lookup.covers(who.reach(Permission.USAGE_READ), record)
    return _Found(who, record) if is_theirs and may_spend(who) else None
