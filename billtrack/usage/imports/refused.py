"""The lines of a file that were refused, as a file to mend and send again."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import TextIO

from billtrack.usage.files.columns import IGNORED, harmless, plain
from billtrack.usage.imports.taking import Refusal


class RefusedLines:
    """Writes refused lines with the columns they had, their number and the reason.

    Text that a spreadsheet would take for a formula gets an apostrophe, which an import takes
    off again.
    """

    def __init__(self, file: TextIO, *, columns: Sequence[str]) -> None:
        self._writer = csv.writer(file)
        self._places = [place for place, name in enumerate(columns) if name not in IGNORED]
        names = [columns[place] for place in self._places]
        self._writer.writerow([*(harmless(name) for name in names), *IGNORED])

    def write(self, refusals: Iterable[Refusal]) -> None:
        """Write these lines; of one that could not be read there is only number and reason."""
        for refusal in refusals:
            cells = refusal.cells
            kept = [
                harmless(plain(cells[place])) if place < len(cells) else ""
                for place in self._places
            ]
            self._writer.writerow([*kept, refusal.number, harmless(refusal.reason)])
