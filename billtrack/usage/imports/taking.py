"""Take the lines of a file in, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from billtrack.accounts.users.queries import find_ids_by_email
from billtrack.core.errors import BilltrackError, InvalidError
from billtrack.usage.files.columns import Columns, plain, to_input
from billtrack.usage.files.lines import CsvFile, Line
from billtrack.usage.files.packed import unpacked
from billtrack.usage.imports.keys import LineKeys
from billtrack.usage.records.outcomes import Outcome
from billtrack.usage.records.submissions import Misshapen, Sent

BLOCK = 2000
"""Lines that are taken in together, in one transaction."""

Door = Callable[[Sequence[Sent]], Sequence[Outcome]]
"""What answers for records: `intake.submit` with its terms, or `intake.preview`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that was not taken in, as it stood in the file, and why."""

    number: int
    cells: Sequence[str]
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Block:
    """What became of lines that were taken in together: how many of each status, and which not."""

    counts: Counter[str]
    refusals: Sequence[Refusal]

    @property
    def lines(self) -> int:
        """How many lines they were."""
        return self.counts.total()


class UsageFile:
    """A file of usage records, plain or packed with gzip, opened in binary.

    Raises UnreadableFile, while lines are taken in as well when a packed file is damaged.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = CsvFile(unpacked(file))
        self._columns = Columns(self._file.header)
        self.columns: Sequence[str] = self._columns.names

    def take_in(self, door: Door) -> Iterator[Block]:
        """Hand the records to the door, a block at a time, and yield what became of each block.

        Taking the same file in once more is safe, and so is going on after a failure.
        """
        lines = self._file.lines()
        with LineKeys() as keys:
            while block := list(islice(lines, BLOCK)):
                yield self._take_block(block, keys, door)

    def _take_block(self, lines: Sequence[Line], keys: LineKeys, door: Door) -> Block:
        user_ids = self._find_users(lines)
        outcomes = door(keys.give([self._read(line, user_ids) for line in lines]))
        refusals = [
            _refusal(line, outcome.error)
            for line, outcome in zip(lines, outcomes, strict=True)
            if outcome.error is not None
        ]
        return Block(Counter(outcome.status.value for outcome in outcomes), refusals)

    def _read(self, line: Line, user_ids: dict[str, int]) -> Sent:
        if line.problem:
            return Misshapen(line.cells, InvalidError(line.problem))
        try:
            return to_input(self._columns.values(line.cells), user_ids=user_ids)
        except InvalidError as error:
            return Misshapen(line.cells, error)

    def _find_users(self, lines: Sequence[Line]) -> dict[str, int]:
        if "user" not in self.columns:
            return {}
        place = self.columns.index("user")
        emails = {plain(line.cells[place]).lower() for line in lines if len(line.cells) > place}
        return find_ids_by_email(sorted(emails))


def _refusal(line: Line, error: BilltrackError) -> Refusal:
    field = f"{error.errors[0].field}: " if error.errors else ""
    return Refusal(line.number, line.cells, error.code, field + error.detail)
