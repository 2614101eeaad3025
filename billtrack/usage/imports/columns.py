"""What the columns of a usage file are called, and what a line says by them.

`user_id` or `user` (an e-mail address) · `event` · `quantity` · `occurred_at`, all of which are
needed · `idempotency_key` · `metadata` (a JSON object) or `metadata.NAME` (text, one column
each). `line` and `reason`, which a file of refused lines has, are left aside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from billtrack.core.errors import InvalidError
from billtrack.usage.fields import parse_instant, require_plain, require_printable, require_small
from billtrack.usage.imports.lines import UnreadableFile
from billtrack.usage.submissions import MetadataValue, UsageInput

T = TypeVar("T")

USERS = ("user_id", "user")
NEEDED = ("event", "quantity", "occurred_at")
OPTIONAL = ("idempotency_key", "metadata")
IGNORED = ("line", "reason")
KNOWN = (*USERS, *NEEDED, *OPTIONAL, *IGNORED)
METADATA = "metadata."
MAX_KEY = 255
FORMULA = re.compile(r"'+[=+\-@\t\r]")
_FORMULA_START = re.compile(r"'*[=+\-@\t\r]")
_QUANTITY = re.compile(r"[0-9]{1,16}", re.ASCII)
_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_EVENT = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


class InvalidLine(InvalidError):
    """A cell of the line does not say what its column needs."""

    code = "invalid"


class Columns:
    """The columns of a file, by its header. Raises UnreadableFile."""

    def __init__(self, header: Sequence[str]) -> None:
        self.names = [name.strip() if METADATA in name else name.strip().lower() for name in header]
        _require_columns(self.names)

    def values(self, cells: Sequence[str]) -> dict[str, str]:
        """Return what the line says by name, without what is empty; raises InvalidLine."""
        if len(cells) != len(self.names):
            raise InvalidLine(f"There are {len(cells)} cells, but {len(self.names)} columns.")
        pairs = zip(self.names, cells, strict=True)
        return {name: plain(cell) for name, cell in pairs if name not in IGNORED and cell.strip()}


def plain(cell: str) -> str:
    """Return the text of a cell, without the apostrophe that keeps it from being a formula."""
    text = cell.strip()
    return text[1:] if FORMULA.match(text) else text


def harmless(cell: str) -> str:
    """Return the text as a cell that no spreadsheet takes for a formula, and `plain` undoes."""
    return f"'{cell}" if _FORMULA_START.match(cell) else cell


def to_input(values: Mapping[str, str], *, user_ids: Mapping[str, int]) -> UsageInput:
    """Return the record that a line says; raises InvalidLine naming the column.

    `user_ids` are the accounts by e-mail address, in small letters.
    """
    for name in NEEDED:
        if name not in values:
            _refuse(name, "This cell is empty.")
    return UsageInput(
        user_id=_user_id(values, user_ids),
        event=_matching(_EVENT, values, "event", "Write the code of an event, as api_calls."),
        quantity=int(
            _matching(_QUANTITY, values, "quantity", "Write a whole number from 1 to 10^15.")
        ),
        occurred_at=_checked(parse_instant, values["occurred_at"], "occurred_at"),
        idempotency_key=_key(values),
        metadata=_metadata(values),
    )


def _require_columns(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in KNOWN and not _is_metadata(name)]
    if unknown:
        known = ", ".join((*KNOWN[:-2], f"{METADATA}NAME"))
        raise UnreadableFile(f"There is no column {unknown[0][:80]!r}. Known: {known}.")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UnreadableFile(f"The column {twice[0][:80]} is there twice.")
    if len([name for name in names if name in USERS]) != 1:
        raise UnreadableFile("Name one column user_id, or user for e-mail addresses.")
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise UnreadableFile(f"The column {missing[0]} is missing.")
    if "metadata" in names and any(_is_metadata(name) for name in names):
        raise UnreadableFile(f"Have either a column metadata, or columns {METADATA}NAME.")


def _is_metadata(name: str) -> bool:
    return name.startswith(METADATA) and len(name) > len(METADATA) and name.isprintable()


def _user_id(values: Mapping[str, str], user_ids: Mapping[str, int]) -> int:
    if "user" in values:
        found = user_ids.get(values["user"].lower())
        return found or _refuse("user", f"There is no account for {values['user'][:254]}.")
    if "user_id" not in values:
        _refuse("user", "This cell is empty.")
    return int(_matching(_ID, values, "user_id", "Write the number of a user, in digits only."))


def _matching(pattern: re.Pattern[str], values: Mapping[str, str], name: str, advice: str) -> str:
    return values[name] if pattern.fullmatch(values[name]) else _refuse(name, advice)


def _key(values: Mapping[str, str]) -> str | None:
    key = values.get("idempotency_key")
    if key is None:
        return None
    if len(key) > MAX_KEY:
        _refuse("idempotency_key", f"Write at most {MAX_KEY} characters.")
    return _checked(require_printable, key, "idempotency_key")


def _metadata(values: Mapping[str, str]) -> dict[str, MetadataValue] | None:
    found: dict[str, Any] = {
        name.removeprefix(METADATA): text
        for name, text in values.items()
        if name.startswith(METADATA)
    }
    if "metadata" in values:
        found = _checked(_json_object, values["metadata"], "metadata")
    for name, value in found.items():
        _checked(require_printable, name, "metadata")
        _checked(require_plain, value, f"{METADATA}{name}")
    return _checked(require_small, found, "metadata") or None


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("Write a JSON object.") from error
    if not isinstance(found, dict):
        raise ValueError("Write a JSON object.")  # noqa: TRY004 (the cell is wrong, not our code)
    return found


def _checked(check: Callable[[Any], T], value: object, name: str) -> T:
    try:
        return check(value)
    except ValueError as error:
        raise InvalidLine.at(name, str(error)) from error


def _refuse(name: str, detail: str) -> NoReturn:
    raise InvalidLine.at(name, detail)
