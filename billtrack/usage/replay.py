"""Send refused records once more, as they are or fixed, through the door that all come by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import update

from billtrack.accounts.users.permissions import Reach
from billtrack.core.errors import ConflictError, InvalidError
from billtrack.platform import audit
from billtrack.platform.db import row_count, transaction
from billtrack.platform.extensions import db
from billtrack.usage.ingest import intake, schema
from billtrack.usage.ingest.decide import IdempotencyConflict
from billtrack.usage.records.queries import RecordView, records_by_id
from billtrack.usage.records.submissions import Submission, Terms, UsageInput, terms_of
from billtrack.usage.sources.items import item_of, usable_key
from billtrack.usage.sources.models import RejectedRecord
from billtrack.usage.sources.rejected import (
    RejectedFilter,
    RejectedView,
    get_rejected,
    list_rejected,
)

AT_ONCE = 500
"""Records of one reason that are sent in one batch."""

COMPARED = 10 * AT_ONCE
"""Records of one reason, the newest, among which the same ones are looked for."""


class NotWhole(ConflictError):
    """Something of the item was left out when it was kept: it cannot be sent as it is."""

    code = "rejected_record_not_whole"


@dataclass(frozen=True, slots=True)
class Replayer:
    """Who sends once more, and when."""

    reach: Reach
    actor: audit.Actor
    now: datetime

    def terms(self, rejected: RejectedView) -> Terms:
        """Return the terms of the source: the record is its own, and of when it was sent."""
        received_at = rejected.first_received_at
        return terms_of(rejected.account_id, self.now, received_at=received_at)


def replay(
    rejected_id: int, *, changes: Mapping[str, Any], by: Replayer
) -> tuple[RecordView, bool]:
    """Store the record with these fields changed; return it and whether it is new.

    A field that is None is left out. The key stays what it was, so that a source that sends
    the record again by itself does not bill it twice; one without a key gets one. Replayed
    again it is the same record. Raises RejectedNotFound, NotWhole, and what refuses it this
    time, which changes nothing.
    """
    rejected = get_rejected(rejected_id, reach=by.reach)
    if rejected.record_id is not None:
        return records_by_id([rejected.record_id])[rejected.record_id], False
    if not rejected.is_whole and not changes:
        raise NotWhole("Not all that was sent is kept. Write each field that the record has.")
    item = _fixed(rejected, changes)
    record, is_new = intake.submit_one(item, terms=by.terms(rejected))
    with transaction():
        _mark(rejected, item, record.id, by)
    return record, is_new


def replay_alike(rejected_id: int, *, by: Replayer) -> tuple[int, int]:
    """Send what the same source was refused for the same reason; return how many went in, and not.

    As it is, and the oldest first. What is refused again stays, and so does what is not kept as
    a whole, and what came without a key more than once: that may be one record that was tried
    again, or several, which only a person can tell.
    """
    one = get_rejected(rejected_id, reach=by.reach)
    alike = RejectedFilter(account_id=one.account_id, code=one.code, detail=one.detail)
    is_open = replace(alike, is_open=True)
    found = list_rejected(reach=by.reach, matching=is_open, limit=AT_ONCE)[::-1]
    doubles = _doubles(list_rejected(reach=by.reach, matching=alike, limit=COMPARED))
    clear = [one for one in found if one.id not in doubles]
    ready = [(one, item) for one in clear if (item := _as_it_is(one)) is not None]
    outcomes = intake.submit_together([Submission(item, by.terms(one)) for one, item in ready])
    stored = [
        (one, item, outcome.record_id)
        for (one, item), outcome in zip(ready, outcomes, strict=True)
        if outcome.record_id is not None
    ]
    if stored:
        with transaction():
            for one, item, record_id in stored:
                _mark(one, item, record_id, by)
    return len(stored), len(found) - len(stored)


def is_key_open(rejected: RejectedView) -> bool:
    """Tell whether the record may be sent once more under another key.

    Where the first record under the key stays, this is another one. And what has no usable key
    needs one.
    """
    return usable_key(rejected.item) is None or rejected.code == IdempotencyConflict.code


def key_of(rejected: RejectedView) -> str:
    """Return the key under which the record is sent once more: its own, if it has a usable one."""
    return usable_key(rejected.item) or f"rejected-{rejected.id}"


def _fixed(rejected: RejectedView, changes: Mapping[str, Any]) -> UsageInput:
    key, asked = key_of(rejected), changes.get("idempotency_key")
    if asked is not None and asked != key and not is_key_open(rejected):
        raise InvalidError.at(
            "idempotency_key",
            "The key stays what it was: the source may send the record again under it.",
        )
    # Of what is not whole nothing is taken over: a part of it may stand for something else.
    is_base = rejected.is_whole and isinstance(rejected.item, dict)
    item = {**(rejected.item if is_base else {}), **changes, "idempotency_key": asked or key}
    said = {name: value for name, value in item.items() if value is not None}
    return schema.read(said, origin=rejected.origin)


def _doubles(known: Sequence[RejectedView]) -> set[int]:
    """Return which of them have no key of their own and say the same as another."""
    contents = Counter(_content(one) for one in known)
    return {one.id for one in known if not usable_key(one.item) and contents[_content(one)] > 1}


def _content(rejected: RejectedView) -> str:
    return json.dumps(rejected.item, sort_keys=True)


def _as_it_is(rejected: RejectedView) -> UsageInput | None:
    try:
        return _fixed(rejected, {}) if rejected.is_whole else None
    except InvalidError:
        return None


def _mark(rejected: RejectedView, item: UsageInput, record_id: int, by: Replayer) -> None:
    """Note which record it became, and who saw to that; only once."""
    is_open = (RejectedRecord.id == rejected.id, RejectedRecord.record_id.is_(None))
    marked = update(RejectedRecord).where(*is_open)
    result = db.session.execute(marked.values(record_id=record_id, replayed_at=by.now))
    if not row_count(result):
        return
    before = rejected.item if isinstance(rejected.item, dict) else {}
    changed = [name for name, value in item_of(item).items() if before.get(name) != value]
    audit.record(
        "usage.replayed",
        actor=by.actor,
        now=by.now,
        object_type="usage_record",
        object_id=record_id,
        changes={
            "rejected_id": rejected.id,
            "source_id": rejected.account_id,
            "user_id": item.user_id,
            "changed": ", ".join(changed),
        },
        subject_id=item.user_id,
    )
