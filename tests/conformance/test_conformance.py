"""Every way in for usage treats a record alike: each record by each way, on both databases."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance import hooks
from tests.conformance.batch_ways import BATCH_WAYS
from tests.conformance.client_way import PythonClient
from tests.conformance.command_way import Command
from tests.conformance.comparing import Walk, differing_keys, faults, has_same_key, walk
from tests.conformance.exclusions import EXCLUDED
from tests.conformance.known import KNOWN
from tests.conformance.outcomes import OUTCOMES
from tests.conformance.page_ways import PAGE_WAYS
from tests.conformance.people import Furnished, furnish, running
from tests.conformance.records import BY_NAME, RECORDS, Record
from tests.conformance.replay_ways import REPLAY_WAYS
from tests.conformance.single_ways import SINGLE_WAYS
from tests.conformance.ways import Way
from tests.conformance.world import World

WAYS: list[Way] = [*SINGLE_WAYS, *BATCH_WAYS, *PAGE_WAYS, *REPLAY_WAYS, PythonClient(), Command()]
DATABASES = ("sqlite", "postgresql")

CELLS = {
    "route": 87,
    "fast path": 87,
    "gzip": 87,
    "batch of one": 87,
    "batch, plain reader": 87,
    "batch, models": 87,
    "batch, all or nothing": 87,
    "large batch": 87,
    "CloudEvents": 81,
    "form": 55,
    "CSV import": 71,
    "replay": 74,
    "replay page": 68,
    "Python client": 74,
    "usage import": 71,
}
"""Number of tested records of each way; the others are in EXCLUDED."""

SAME_KEYS = {
    "route": 23,
    "fast path": 23,
    "gzip": 23,
    "batch of one": 23,
    "batch, plain reader": 23,
    "batch, models": 23,
    "batch, all or nothing": 23,
    "large batch": 23,
    "CloudEvents": 23,
    "form": 16,
    "CSV import": 22,
    "replay": 23,
    "replay page": 22,
    "Python client": 20,
    "usage import": 22,
}
"""Number of records of each way whose claimed key can be compared."""

Walked = Callable[[Way, str], Walk]


@pytest.fixture(scope="module")
def walked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Walked]:
    """Walk the records through a way in, once for each database."""
    furnished: dict[str, Furnished] = {}
    walks: dict[tuple[str, str], Walk] = {}

    def run(way: Way, database: str) -> Walk:
        if database not in furnished:
            folder = tmp_path_factory.mktemp(database)
            furnished[database] = furnish(request, database, folder)
        if (way.name, database) not in walks:
            folder = tmp_path_factory.mktemp("walk")
            walks[way.name, database] = _walk(way, database, furnished[database], folder)
        return walks[way.name, database]

    yield run
    for one in furnished.values():
        one.close()


def _walk(way: Way, database: str, furnished: Furnished, folder: Path) -> Walk:
    with (
        furnished.copied(folder) as settings,
        running(settings) as app,
        hooks.watching(app) as watch,
    ):
        return walk(way, World(app, database, furnished.people, watch), cells_of(way))


def cells_of(way: Way) -> list[Record]:
    left_out = {name for names in EXCLUDED.get(way.name, {}).values() for name in names}
    return [record for record in RECORDS if record.name not in left_out]


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_each_record_comes_to_the_same(walked: Walked, way: Way, database: str) -> None:
    found = walked(way, database)
    wrong = [text for record in cells_of(way) for text in faults(found, record)]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_key_is_claimed_alike(walked: Walked, way: Way, database: str) -> None:
    found, first = walked(way, database), walked(WAYS[0], DATABASES[0])
    compared = [record for record in cells_of(way) if has_same_key(found, first, record)]
    wrong = [
        f"record {record.name} by way {way.name} on {database}: {what} {one.hex()}, "
        f"expected {expected.hex()} as by way {first.way.name} on {first.world.database}"
        for record in compared
        for what, one, expected in differing_keys(found, first, record)
    ]
    assert not wrong, "\n" + "\n".join(wrong)
    assert len(compared) == SAME_KEYS[way.name]


def test_no_cell_is_lost_unseen() -> None:
    excluded = {
        way: [name for names in reasons.values() for name in names]
        for way, reasons in EXCLUDED.items()
    }
    assert len(RECORDS) == len(BY_NAME) == 87
    assert BY_NAME.keys() == OUTCOMES.keys()
    assert {way.name: len(cells_of(way)) for way in WAYS} == CELLS
    assert len(WAYS) * len(RECORDS) == 1305
    assert (sum(CELLS.values()), sum(map(len, excluded.values()))) == (1190, 115)
    assert len(KNOWN) == 11


def test_what_is_excluded_or_known_is_a_cell_once() -> None:
    cells = {(way.name, record.name) for way in WAYS for record in RECORDS}
    excluded = [
        (way, name)
        for way, reasons in EXCLUDED.items()
        for names in reasons.values()
        for name in names
    ]
    assert len(excluded) == len(set(excluded))
    assert set(excluded) <= cells
    assert KNOWN.keys() <= cells - set(excluded)
    assert [cell for cell, one in KNOWN.items() if one.contract == one.today] == []


def test_the_oracle_knows_nothing_of_billtrack() -> None:
    for name in ("records", "outcomes", "exclusions", "known"):
        text = (Path(__file__).parent / f"{name}.py").read_text()
        assert re.findall(r"(?:from|import) billtrack", text) == [], name
