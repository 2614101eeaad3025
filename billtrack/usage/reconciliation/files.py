"""Totals as a CSV file: `day`, `event`, `quantity`, and `user_id` or `user` for totals per user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import BinaryIO

from billtrack.accounts.users.queries import find_ids_by_email
from billtrack.core.errors import FieldError
from billtrack.usage.files.columns import plain
from billtrack.usage.files.lines import CsvFile, Line, UnreadableFile
from billtrack.usage.ingest.fields import YEARS
from billtrack.usage.reconciliation.comparing import (
    MAX_ERRORS,
    MAX_TOTAL,
    MAX_TOTALS,
    InvalidTotals,
    SentTotal,
)

NEEDED = ("day", "event", "quantity")
USERS = ("user_id", "user")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,25}", re.ASCII)
_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


def read_totals(file: BinaryIO) -> list[SentTotal]:
    """Return the totals of a file, opened in binary, each with the number of its line.

    Raises UnreadableFile, and InvalidTotals that names the lines.
    """
    source = CsvFile(file)
    names = _columns(source.header)
    lines = []
    for line in source.lines():
        lines.append(line)
        if len(lines) > MAX_TOTALS:
            raise InvalidTotals(f"Send at most {MAX_TOTALS:,} totals at once.")
    user_ids = _find_users(lines, names)
    totals: list[SentTotal] = []
    errors: list[FieldError] = []
    for line in lines:
        try:
            totals.append(_read(line, names, user_ids))
        except InvalidTotals as error:
            errors += error.errors
    if errors:
        shown = " ".join(f"{error.field}: {error.detail}" for error in errors[:3])
        raise InvalidTotals(shown, errors=errors[:MAX_ERRORS])
    return totals


def _columns(header: Sequence[str]) -> list[str]:
    names = [name.strip().lower() for name in header]
    for name in names:
        if name not in (*NEEDED, *USERS) or names.count(name) > 1:
            known = ", ".join((*NEEDED, "user_id or user"))
            raise UnreadableFile(f"The column {name[:80]!r} cannot be there. Known: {known}.")
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise UnreadableFile(f"The column {missing[0]} is missing.")
    if all(name in names for name in USERS):
        raise UnreadableFile("Have either a column user_id, or user for e-mail addresses.")
    return names


def _find_users(lines: Sequence[Line], names: Sequence[str]) -> Mapping[str, int]:
    if "user" not in names:
        return {}
    place = names.index("user")
    emails = {plain(line.cells[place]).lower() for line in lines if len(line.cells) > place}
    return find_ids_by_email(sorted(emails))


def _read(line: Line, names: Sequence[str], user_ids: Mapping[str, int]) -> SentTotal:
    place = f"Line {line.number}"
    if line.problem or len(line.cells) != len(names):
        cells = f"There are {len(line.cells)} cells, but {len(names)} columns."
        raise InvalidTotals.at(place, line.problem or cells)
    values = {name: plain(cell) for name, cell in zip(names, line.cells, strict=True)}
    errors = [FieldError(f"{place}, {name}", advice) for name, advice in _wrong(values, user_ids)]
    if errors:
        raise InvalidTotals(errors[0].detail, errors=errors)
    return SentTotal(
        day=date.fromisoformat(values["day"]),
        event=values["event"],
        user_id=_user_id(values, user_ids),
        quantity=int(values["quantity"]),
        place=place,
    )


def _wrong(values: Mapping[str, str], user_ids: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    if not _is_day(values["day"]):
        yield "day", "Write a day such as 2026-10-05."
    if not values["event"]:
        yield "event", "This cell is empty."
    if not _WHOLE.fullmatch(values["quantity"]) or int(values["quantity"]) > MAX_TOTAL:
        yield "quantity", "Write a whole number of base units, 0 or more."
    if values.get("user_id") and not _ID.fullmatch(values["user_id"]):
        yield "user_id", "Write the number of a user, in digits only."
    if values.get("user") and values["user"].lower() not in user_ids:
        yield "user", f"There is no account for {values['user'][:254]}."


def _user_id(values: Mapping[str, str], user_ids: Mapping[str, int]) -> int | None:
    if values.get("user"):
        return user_ids[values["user"].lower()]
    return int(values["user_id"]) if values.get("user_id") else None


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        return date.fromisoformat(text).year in YEARS
    except ValueError:
        return False
