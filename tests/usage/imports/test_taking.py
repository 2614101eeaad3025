"""Usage files go through the one door: refused lines are told, the same file adds nothing."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO, StringIO

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select

from billtrack.platform.extensions import db
from billtrack.usage.imports import taking
from billtrack.usage.imports.refused import RefusedLines
from billtrack.usage.imports.taking import Refusal, UsageFile
from billtrack.usage.ingest.intake import preview, submit
from billtrack.usage.records.models import UsageRecord
from tests.cast import Cast, terms
from tests.usage.racing import in_threads

AT = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
NAMES = ("user", "event", "quantity", "occurred_at")


def content(*rows: Sequence[object], names: Sequence[str] = NAMES) -> bytes:
    text = StringIO()
    csv.writer(text).writerows([names, *rows])
    return text.getvalue().encode()


def take(cast: Cast, file: bytes) -> tuple[dict[str, int], list[Refusal]]:
    """Take the file in as the provider; return counts without zeros, and what was refused."""
    return _take(file, partial(submit, terms=terms(cast.provider)))


def _take(file: bytes, door: taking.Door) -> tuple[dict[str, int], list[Refusal]]:
    blocks = list(UsageFile(BytesIO(file)).take_in(door))
    counts = sum((block.counts for block in blocks), Counter[str]())
    return dict(+counts), [refusal for block in blocks for refusal in block.refusals]


def stored() -> int:
    db.session.rollback()
    return db.session.scalars(select(func.count(UsageRecord.id))).one()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "BLOCK", 3)


def good(cast: Cast, *quantities: int) -> list[tuple[object, ...]]:
    return [(cast.customer.user.email, "api_calls", quantity, AT) for quantity in quantities]


def test_the_same_file_twice_adds_nothing_but_equal_lines_count(cast: Cast) -> None:
    file = content(*good(cast, 1, 2, 2, 2, 3, 1, 4))
    assert take(cast, file) == ({"accepted": 7}, [])
    assert take(cast, file) == ({"duplicate": 7}, [])
    assert take(cast, content(*good(cast, 1, 2, 2, 2, 3, 1, 4, 2, 5))) == (
        {"duplicate": 7, "accepted": 2},
        [],
    )
    assert stored() == 9


def test_order_and_spelling_of_the_columns_make_no_other_file(cast: Cast) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC).replace(year=datetime.now(UTC).year)
    moment = min(moment, datetime.now(UTC) - timedelta(days=1)).replace(microsecond=0)
    plus_two = (moment + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00")
    email = cast.customer.user.email
    first = content((email, "api_calls", "7", moment.strftime("%Y-%m-%dT%H:%M:%SZ")))
    names = ("Occurred_At", "quantity", "EVENT", "user_id")
    other = content((plus_two, "007", "api_calls", cast.customer.id), names=names)
    assert take(cast, first)[0] == {"accepted": 1}
    assert take(cast, other)[0] == {"duplicate": 1}


def test_two_imports_of_one_file_at_once_add_it_once(app: APIFlask, cast: Cast) -> None:
    file = content(*good(cast, *range(1, 31)))
    terms_of_provider = terms(cast.provider)

    def run() -> Counter[str]:
        return Counter(_take(file, partial(submit, terms=terms_of_provider))[0])

    first, second = in_threads(app, [run, run])
    assert first + second == {"accepted": 30, "duplicate": 30}
    assert stored() == 30


def test_a_key_of_ones_own_is_kept_and_conflicts_are_told(cast: Cast) -> None:
    names = (*NAMES, "idempotency_key")
    (row,) = good(cast, 5)
    assert take(cast, content((*row, "a"), names=names))[0] == {"accepted": 1}
    (other,) = good(cast, 6)
    counts, refused = take(cast, content((*row, "a"), (*other, "a"), names=names))
    assert counts == {"duplicate": 1, "conflict": 1}
    assert [(refusal.number, refusal.code) for refusal in refused] == [(3, "idempotency_conflict")]


WRONG_CELLS = (
    (0, "nobody@test.example"),
    (0, ""),
    (1, "no_such_event"),
    (1, "API calls"),
    *((2, cell) for cell in ("0", "-5", "1.0", "1e3", "1_000", "١", "9" * 30, f"{10**15 + 1}", "")),
    (3, "2026-02-30T10:00:00Z"),
    (3, "2026-11-01T10:00:00"),
    (3, "01.11.2026"),
    (3, "2999-01-01T00:00:00Z"),
    (3, ""),
)


def test_a_wrong_cell_refuses_its_line_alone(cast: Cast) -> None:
    rows = good(cast, *range(1, 2 * len(WRONG_CELLS) + 1))
    for number, (place, cell) in enumerate(WRONG_CELLS):
        bad = list(rows[2 * number])
        bad[place] = cell
        rows[2 * number] = tuple(bad)
    counts, refused = take(cast, content(*rows))
    assert counts == {"accepted": len(WRONG_CELLS), "rejected": len(WRONG_CELLS)}
    told = [(refusal.number, refusal.reason.partition(":")[0]) for refusal in refused]
    assert told == [(2 * at + 2, NAMES[place]) for at, (place, _) in enumerate(WRONG_CELLS)]


def test_too_few_and_too_many_cells_are_told(cast: Cast) -> None:
    few, many = good(cast, 1)[0][:3], (*good(cast, 2)[0], "x")
    counts, refused = take(cast, content(few, many, *good(cast, 3)))
    assert counts == {"accepted": 1, "rejected": 2}
    assert [refusal.reason for refusal in refused] == [
        "There are 3 cells, but 4 columns.",
        "There are 5 cells, but 4 columns.",
    ]


def test_metadata_are_a_flat_object(cast: Cast) -> None:
    texts = ("[1]", "{", '{"a": {"b": 1}}', '{"a": null}', '{"a": NaN}', "[" * 9000)
    rows = [(*good(cast, 1)[0], text) for text in (*texts, f'{{"a": "{"x" * 2100}"}}')]
    counts, refused = take(cast, content(*rows, names=(*NAMES, "metadata")))
    assert counts == {"rejected": 7}
    assert all(refusal.reason.startswith("metadata") for refusal in refused)


def test_metadata_come_as_columns_or_as_json(cast: Cast) -> None:
    row = good(cast, 1)[0]
    names = (*NAMES, "metadata.region", "metadata.Note")
    assert take(cast, content((*row, "eu", ""), names=names))[0] == {"accepted": 1}
    # The same said otherwise is the same record.
    again = content((*row, '{"region": "eu"}'), names=(*NAMES, "metadata"))
    assert take(cast, again)[0] == {"duplicate": 1}
    assert db.session.scalars(select(UsageRecord.details)).all() == [{"region": "eu"}]


def test_refused_lines_are_a_file_to_mend_and_send_again(cast: Cast) -> None:
    names = (*NAMES, "metadata.note")
    rows = [
        (*good(cast, 1)[0], "=1+1"),
        ("=cmd()", "api_calls", 2, AT, "'+2"),
        ("x", "", "-3", "", ""),
    ]
    counts, refused = take(cast, content(*rows, names=names))
    assert counts == {"accepted": 1, "rejected": 2}
    out = StringIO(newline="")
    RefusedLines(out, columns=names).write(refused)
    text = out.getvalue()
    cells = list(csv.reader(StringIO(text)))
    assert cells[0] == [*names, "line", "reason"]
    assert [row[5] for row in cells[1:]] == ["3", "4"]
    assert not [cell for row in cells for cell in row if cell.startswith(("=", "+", "-", "@"))]
    mended = text.replace("'=cmd()", cast.customer.user.email)
    assert take(cast, b"\xef\xbb\xbf" + mended.encode())[0] == {"accepted": 1, "rejected": 1}
    notes = db.session.scalars(select(UsageRecord.details).order_by(UsageRecord.id)).all()
    assert notes == [{"note": "=1+1"}, {"note": "+2"}]
    # Mended in the first file, too, it is still the same record.
    whole = content(rows[0], (*good(cast, 2)[0], "'+2"), rows[2], names=names)
    assert take(cast, whole)[0] == {"duplicate": 2, "rejected": 1}


def test_a_dry_run_says_the_same_and_stores_nothing(cast: Cast) -> None:
    take(cast, content(*good(cast, 1)))
    file = content(
        *good(cast, 1, 2, 2), ("nobody@x.example", "api_calls", 1, AT), *good(cast, 10**16)
    )
    dry = _take(file, partial(preview, terms=terms(cast.provider)))
    assert stored() == 1
    assert dry[0] == {"duplicate": 1, "accepted": 2, "rejected": 2}
    assert take(cast, file) == dry


def test_what_was_stored_before_a_failure_is_not_stored_again(cast: Cast) -> None:
    file = content(*good(cast, *range(1, 11)))
    door = partial(submit, terms=terms(cast.provider))
    blocks = UsageFile(BytesIO(file)).take_in(door)
    for _ in range(2):
        next(blocks)
    assert stored() == 6
    assert take(cast, file)[0] == {"duplicate": 6, "accepted": 4}
