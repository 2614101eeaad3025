"""GET /usage/:id: a record is read together with those that others ask for at the moment."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from wsgiref.types import WSGIEnvironment

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from billtrack.accounts.access import Principal
from billtrack.accounts.credentials import api_keys
from billtrack.accounts.credentials.key_cache import LiveKey
from billtrack.accounts.users.permissions import Permission
from billtrack.entrypoints.server.fast_path.answers import Answer, answer_with
from billtrack.entrypoints.server.fast_path.plain_requests import find_owner
from billtrack.platform import limits
from billtrack.platform.limits import Budget
from billtrack.usage.records import lookup
from billtrack.usage.records.queries import RecordView

Spend = Callable[[Budget, str], bool]

PATH = re.compile(r"/api/v1/usage/([1-9][0-9]{0,17})/?", re.ASCII)
ROUTE = "/api/v1/usage/<id:record_id>"


@dataclass(frozen=True, slots=True)
class Asked:
    """A record that somebody asks for: by which key, and when."""

    secret: str
    record_id: int
    now: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """A record, and who may see it."""

    who: Principal
    record: RecordView


def wanted_id(environ: WSGIEnvironment) -> int | None:
    """Return the id of the record that is asked for, None where something else is."""
    if environ["REQUEST_METHOD"] != "GET":
        return None
    matched = PATH.fullmatch(environ["PATH_INFO"])
    return int(matched[1]) if matched else None


def read_request(environ: WSGIEnvironment, record_id: int, secret: str) -> Asked | None:
    """Return what is asked for with this key, or None where it is not plain."""
    if environ.get("QUERY_STRING"):
        return None
    return Asked(secret, record_id, datetime.now(UTC))


def answer(found: Found) -> Answer:
    """Answer with the record."""
    return answer_with(found.record, "200 OK", ROUTE, found.who)


def read_together(asked: Sequence[Asked], *, engine: Engine | None = None) -> list[Found | None]:
    """Look keys and records up; a database that refuses is met again on the long way."""
    try:
        keys = api_keys.find_together([one.secret for one in asked], engine=engine)
        records = lookup.find_together([one.record_id for one in asked], engine=engine)
    except SQLAlchemyError:
        return [None] * len(asked)
    return [_found(one, key, record) for one, key, record in zip(asked, keys, records, strict=True)]


def show(record: RecordView, who: Principal, *, spend: Spend = limits.spend) -> Found | None:
    """Return the record if they may see it, who spend one for it; None where the route decides."""
    if not lookup.covers(who.reach(Permission.USAGE_READ), record):
        return None
    return Found(who, record) if spend(Budget.USAGE, who.payer(Budget.USAGE)) else None


def _found(one: Asked, key: LiveKey | None, record: RecordView | None) -> Found | None:
    who = find_owner(key, Permission.USAGE_READ, now=one.now)
    return None if who is None or record is None else show(record, who)
