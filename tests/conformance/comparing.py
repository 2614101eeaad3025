"""Send the records by one way and list the differences from the expected outcomes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from tests.conformance import hooks
from tests.conformance.known import KNOWN
from tests.conformance.outcomes import ACCEPTED, GENERATED, OUTCOMES, REFUSED, Outcome
from tests.conformance.people import TIMEZONE
from tests.conformance.records import Record, Shift
from tests.conformance.ways import Answer, Way
from tests.conformance.world import COUNTED, Stand, World, instant, prepare, stand

TOLERANCE = timedelta(seconds=20)
"""Tolerance for instants that are relative to the moment of sending."""


@dataclass(frozen=True)
class Sent:
    """A record that was sent: what was answered, by which parts, and what its key paid."""

    answer: Answer
    parts: frozenset[str]
    spent: int


@dataclass(frozen=True)
class Walk:
    """All records of a way in, in one database, and what the database held before and after."""

    way: Way
    world: World
    sent: Mapping[str, Sent]
    before: Stand
    after: Stand

    def new_records(self, record: Record) -> list[Mapping[str, Any]]:
        """Return what was stored for the sender, without good neighbours."""
        neighbour = self.world.people.neighbour_id
        return [row for row in self._sent_by(record) if row["user_id"] != neighbour]

    def neighbours(self, record: Record) -> int:
        """Return how many good neighbours were stored."""
        return len(self._sent_by(record)) - len(self.new_records(record))

    def _sent_by(self, record: Record) -> Sequence[Mapping[str, Any]]:
        return self._new_by_sender[self.world.source(record).sender_id]

    @cached_property
    def _new_by_sender(self) -> Mapping[int, Sequence[Mapping[str, Any]]]:
        found: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for number, row in self.after.records.items():
            if number not in self.before.records:
                found[row["recorded_by_id"]].append(row)
        return found

    def key_of(self, record: Record) -> tuple[bytes, bytes] | None:
        """Return hash and fingerprint of the key that the record has claimed."""
        rows = self.new_records(record)
        return self.after.keys.get(rows[0]["id"]) if rows else None


def walk(way: Way, world: World, records: list[Record]) -> Walk:
    """Send each record once by the way in."""
    prepare(world, way.send_earlier)
    before = stand()
    sent: dict[str, Sent] = {}
    with way.open(world):
        for record in records:
            source = world.source(record)
            left = hooks.budget_left(source.key_id)
            world.watch.begin()
            answer = way.send(world, record)
            parts = world.watch.parts()
            sent[record.name] = Sent(answer, parts, left - hooks.budget_left(source.key_id))
    return Walk(way, world, sent, before, stand())


def faults(found: Walk, record: Record) -> list[str]:
    """Return the differences of a cell, each as a sentence."""
    place = f"record {record.name} by way {found.way.name} on {found.world.database}"
    known = KNOWN.get((found.way.name, record.name))
    outcome, note = OUTCOMES[record.name], ""
    if known is not None:
        outcome, note = known.today, f" (by a known difference: {known.reason})"
    return [
        f"{place}: {name} {actual!r}, expected {expected!r}{note}"
        for name, actual, expected in _compared(found, record, outcome)
        if actual != expected
    ]


def _compared(
    found: Walk, record: Record, outcome: Outcome
) -> Iterator[tuple[str, object, object]]:
    way, sent = found.way, found.sent[record.name]
    wanted = way.adapt(outcome, record)
    yield "verdict", sent.answer.verdict, way.verdict(wanted)
    yield "status", sent.answer.status, way.status(wanted)
    yield "code", sent.answer.code, way.code(wanted)
    yield (
        "parts at work",
        set(sent.parts & way.watched),
        set(way.parts(found.world, record, wanted)),
    )
    yield "budget spent", sent.spent, way.spends(wanted)
    yield from _rows(found, record, wanted)
    yield "neighbours stored", found.neighbours(record), way.good_stored(wanted)
    yield "rollup", _rollup(found, record), _wanted_rollup(found, record, wanted)
    yield "counts of the source", _counts(found, record), _wanted_counts(way, wanted)
    yield "rejections kept", _kept(found, record), _wanted_kept(way, wanted)


def _rows(found: Walk, record: Record, wanted: Outcome) -> Iterator[tuple[str, object, object]]:
    rows = found.new_records(record)
    yield "records stored", len(rows), 1 if wanted.verdict == ACCEPTED else 0
    if len(rows) != 1 or wanted.verdict != ACCEPTED:
        return
    (row,), answer = rows, found.sent[record.name].answer
    if found.way.names_id:
        yield "id", answer.record_id, row["id"]
    source, people = found.world.source(record), found.world.people
    yield "code of the meter", row["code"], wanted.event
    yield "quantity", row["quantity"], wanted.quantity
    is_managers = record.name == "user_manager"
    yield "user", row["user_id"], people.manager_id if is_managers else source.customer_id
    yield "recorded by", row["recorded_by_id"], source.sender_id
    key = record.name if wanted.key == "" else wanted.key
    has_key = row["idempotency_key"] is not None and key == GENERATED
    yield "key", GENERATED if has_key else row["idempotency_key"], key
    yield "claims a key", row["id"] in found.after.keys, key is not None
    yield "metadata", row["metadata"], wanted.metadata
    yield "origin", row["origin"], found.way.origin
    yield "reversal", (row["reverses_id"], row["reason"]), (None, None)
    yield "occurred at", *_instants(row, wanted)
    yield "created now", abs(row["created_at"] - datetime.now(UTC)) < timedelta(minutes=4), True


def _instants(row: Mapping[str, Any], wanted: Outcome) -> tuple[datetime, datetime]:
    actual: datetime = row["occurred_at"]
    if isinstance(wanted.at, str):
        return actual, datetime.fromisoformat(wanted.at)
    if wanted.at is None:
        about = row["created_at"]
    else:
        about = instant(Shift(wanted.at.seconds)) - (datetime.now(UTC) - row["created_at"])
    return actual, actual if abs(actual - about) < TOLERANCE else about


def _rollup(found: Walk, record: Record) -> Mapping[tuple[str, str, str], int]:
    source, people = found.world.source(record), found.world.people
    user = people.manager_id if record.name == "user_manager" else source.customer_id
    return {
        (code, day, name): value - found.before.days[owner, code, day, name]
        for (owner, code, day, name), value in found.after.days.items()
        if owner == user and value != found.before.days[owner, code, day, name]
    }


def _wanted_rollup(
    found: Walk, record: Record, wanted: Outcome
) -> Mapping[tuple[str, str, str], int]:
    if wanted.verdict != ACCEPTED:
        return {}
    day = wanted.day
    if day is None:
        rows = found.new_records(record)
        at = rows[0]["occurred_at"] if rows else datetime.now(UTC)
        day = at.astimezone(ZoneInfo(TIMEZONE)).date().isoformat()
    return {(wanted.event, day, "quantity"): wanted.quantity, (wanted.event, day, "count"): 1}


def _counts(found: Walk, record: Record) -> Mapping[str, int]:
    sender = found.world.source(record).sender_id
    grown = {n: found.after.counts[sender, n] - found.before.counts[sender, n] for n in COUNTED}
    return {name: number for name, number in grown.items() if number}


def _wanted_counts(way: Way, wanted: Outcome) -> Mapping[str, int]:
    if wanted.verdict == REFUSED:
        return {}
    good = way.good_stored(wanted)
    counts = dict.fromkeys(COUNTED, 0)
    counts["accepted"], counts["late"], counts["rejected"] = good, good, way.beside.bad
    for name in way.counted_as(wanted):
        counts[name] += 1
    return {name: number for name, number in counts.items() if number}


def _kept(found: Walk, record: Record) -> list[str]:
    sender = found.world.source(record).sender_id
    old = {number for number, _, _ in found.before.rejections}
    return [
        code
        for number, account, code in found.after.rejections
        if number not in old and account == sender
    ]


def _wanted_kept(way: Way, wanted: Outcome) -> list[str]:
    if wanted.verdict == REFUSED:
        return []
    return [*way.keeps(wanted), *["invalid"] * way.beside.bad]


def has_same_key(found: Walk, other: Walk, record: Record) -> bool:
    """Tell whether the record has claimed keys in both walks that have to be the same."""
    wanted = found.way.adapt(OUTCOMES[record.name], record)
    is_written = not isinstance(wanted.at, Shift) and wanted.key is not GENERATED
    keys = (found.key_of(record), other.key_of(record))
    return is_written and record.name not in found.way.other_content and None not in keys


def differing_keys(found: Walk, other: Walk, record: Record) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield hash and fingerprint of the claimed key where they differ from those of `other`."""
    keys, expected = found.key_of(record), other.key_of(record)
    assert keys is not None
    assert expected is not None
    for place, name in enumerate(("hash of the key", "fingerprint")):
        is_compared = found.way.compares_hash or name == "fingerprint"
        if is_compared and keys[place] != expected[place]:
            yield name, keys[place], expected[place]
