"""Cut a CSV file into lines of cells, in bounded memory, whatever the file holds.

A line that cannot be read is refused alone: the lines after it are read as if it were not there,
also when it opens a quotation that nobody closes.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from billtrack.core.errors import InvalidError

MAX_LINE = 16 * 1024
"""Bytes of one line, and characters of one record with line breaks in its cells."""

DELIMITERS = (",", ";", "\t")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
CHUNK = 1 << 16


class UnreadableFile(InvalidError):
    """The file is no CSV in UTF-8 with a header line."""

    code = "unreadable_file"


@dataclass(frozen=True, slots=True)
class Line:
    """A record of the file: the number of its first line, and its cells or why it has none."""

    number: int
    cells: Sequence[str]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Physical:
    number: int
    text: str
    problem: str | None = None


class CsvFile:
    """A CSV file, opened in binary, whose header has been read.

    UTF-8 with or without byte order mark; commas, semicolons or tabs. Raises UnreadableFile.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._source = _Source(file)
        first = self._source.take()
        while first is not None and not first.problem and not first.text.strip("\ufeff\r\n\t ,;"):
            first = self._source.take()
        if first is None:
            raise UnreadableFile("The file is empty. Its first line names the columns.")
        if first.problem:
            raise UnreadableFile(f"The first line cannot be read. {first.problem}")
        text = first.text.removeprefix("\ufeff")
        self._delimiter = max(DELIMITERS, key=text.count)
        header = self._read(_Physical(first.number, text))
        if header.problem:
            raise UnreadableFile(f"The first line cannot be read. {header.problem}")
        self.header = header.cells

    def lines(self) -> Iterator[Line]:
        """Yield the records below the header; lines without any text are left out."""
        while (first := self._source.take()) is not None:
            line = self._read(first)
            if line.problem or any(cell.strip() for cell in line.cells):
                yield line

    def _read(self, first: _Physical) -> Line:
        if first.problem:
            return Line(first.number, (), first.problem)
        if '"' not in first.text:  # nearly always, and five times as quick
            return Line(first.number, first.text.rstrip("\r\n").split(self._delimiter))
        taken: list[_Physical] = []
        feed = self._feed(first, taken)
        try:
            cells = next(csv.reader(feed, delimiter=self._delimiter, strict=True))
        except csv.Error:
            self._source.give_back(taken)
            return Line(first.number, (), "A quotation mark is not closed, or text follows it.")
        return Line(first.number, cells)

    def _feed(self, first: _Physical, taken: list[_Physical]) -> Iterator[str]:
        """Yield the line, and those after it for as long as a quotation goes on."""
        yield first.text
        size = len(first.text)
        while (more := self._source.take()) is not None:
            taken.append(more)
            size += len(more.text)
            if more.problem or size > MAX_LINE:
                return
            yield more.text


class _Source:
    """The lines of a file by number, with those that were given back first."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0
        self._back: deque[_Physical] = deque()

    def take(self) -> _Physical | None:
        if self._back:
            return self._back.popleft()
        raw = self._file.readline(MAX_LINE + 1)
        if not raw:
            return None
        self._number += 1
        if len(raw) > MAX_LINE:
            self._skip_rest(raw)
            return _Physical(self._number, "", f"It is longer than {MAX_LINE // 1024} KiB.")
        return _decode(self._number, raw)

    def give_back(self, lines: Sequence[_Physical]) -> None:
        self._back.extendleft(reversed(lines))

    def _skip_rest(self, raw: bytes) -> None:
        while raw and not raw.endswith(b"\n"):
            raw = self._file.readline(CHUNK)


def _decode(number: int, raw: bytes) -> _Physical:
    if b"\0" in raw or (number == 1 and raw.startswith(UTF_16)):
        return _Physical(number, "", "This is not text in UTF-8: save the file as CSV UTF-8.")
    try:
        return _Physical(number, raw.decode())
    except UnicodeDecodeError:
        return _Physical(number, "", "This is not UTF-8: save the file as CSV UTF-8.")
