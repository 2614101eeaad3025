"""`billtrack audit verify`: what it says of a whole log, and of one that somebody changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from billtrack.platform.config import Settings
from billtrack.platform.extensions import db
from tests.platform.audit.writing import cut_off, exchange, note_alone, remove, tamper
from tests.terminal import Result, Terminal

WHOLE = re.compile(
    r"(?P<entries>\d+) entries follow one another as they were written\.\n"
    r"(?:The head that was given is that of entry (?P<known>\d+)\.\n)?"
    r"Head: (?P<head>[0-9a-f]{64}) \(entry (?P<last>\d+)\)\n"
)


class Verifier:
    """Runs the command on the database of the test."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._terminal = Terminal(folder)
        url = settings.database_url
        self._place = {
            "BILLTRACK_DATA_DIR": str(settings.data_dir),
            "DATABASE_URL": url.get_secret_value() if url else "",
        }

    def run(self, *arguments: str) -> Result:
        db.session.rollback()
        return self._terminal.run("audit", "verify", *arguments, **self._place)

    def told(self, *arguments: str) -> dict[str, str | None]:
        """Return what it says of a log that is whole."""
        result = self.run(*arguments)
        assert (result.code, result.err) == (0, ""), result.err
        found = WHOLE.fullmatch(result.out)
        assert found, result.out
        return found.groupdict()


@pytest.fixture
def verifier(log: int, settings: Settings, tmp_path: Path) -> Verifier:
    return Verifier(tmp_path, settings)


def test_it_tells_the_head_and_knows_it_later(log: int, verifier: Verifier) -> None:
    told = verifier.told()
    assert (told["last"], told["known"]) == (str(log + 5), None)
    note_alone(7)
    later = verifier.told("--head", str(told["head"]))
    assert (later["last"], later["known"]) == (str(log + 6), str(log + 5))
    assert int(str(later["entries"])) == int(str(told["entries"])) + 1


def test_it_misses_the_head_of_an_end_that_was_cut_off(log: int, verifier: Verifier) -> None:
    head = str(verifier.told()["head"])
    cut_off(log + 4)
    assert verifier.told()["last"] == str(log + 3)  # the log itself cannot know
    assert verifier.run("--head", head).refuses("does not come by the head")


def test_it_names_the_first_entry_that_is_not_what_was_written(
    log: int, verifier: Verifier
) -> None:
    # From the end to the beginning, since of several it names the first.
    exchange(log + 4, log + 5)
    assert verifier.run().refuses(f"Entry {log + 4} (", "moved")
    remove(log + 2)
    assert verifier.run().refuses(f"Entry {log + 3} does not follow entry {log + 1}", "removed")
    tamper("UPDATE audit_entries SET object_id = 9 WHERE id = :id", id=log + 1)
    assert verifier.run().refuses(f"Entry {log + 1} (", "altered")


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_it_says_how_a_head_looks(verifier: Verifier) -> None:
    for text in ("ab", "x" * 64, "0" * 62 + "  "):
        result = verifier.run("--head", text)
        assert (result.code, result.out) == (2, "")
        assert "A head is 64 hexadecimal digits." in result.err
