"""What the columns of a usage file are called, and what a line says by them.

`user_id` or `user` (an e-mail address) · `event` · `quantity` · `occurred_at`, all of which are
needed · `idempotency_key` · `metadata` (a JSON object) or `metadata.NAME` (text, one column
each). `line` and `reason`, which a file of refused lines has, are left aside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from billtrack.core.errors import InvalidError
from billtrack.usage.files.lines import UnreadableFile
from billtrack.usage.ingest import schema
from billtrack.usage.records.submissions import UsageInput

USERS = ("user_id", "user")
NEEDED = ("event", "quantity", "occurred_at")
OPTIONAL = ("idempotency_key", "metadata")
IGNORED = ("line", "reason")
KNOWN = (*USERS, *NEEDED, *OPTIONAL, *IGNORED)
METADATA = "metadata."
ADVICE = {
    "user_id": "Write the number of a user, in digits only.",
    "event": "Write the code of an event, as api_calls.",
    "quantity": "Write a whole number from 1 to 10^15.",
}
"""How a cell is to be mended, where the schema's own words speak of JSON."""

FORMULA = re.compile(r"'+[=+\-@\t\r]")
_FORMULA_START = re.compile(r"'*[=+\-@\t\r]")
_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)


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
            raise InvalidLine.at(name, "This cell is empty.")
    item = {
        "user_id": _user_id(values, user_ids),
        "event": values["event"],
        "quantity": _number(values["quantity"]),
        "occurred_at": values["occurred_at"],
        "idempotency_key": values.get("idempotency_key"),
        "metadata": _metadata(values) or None,
    }
    try:
        return schema.read(item)
    except InvalidError as error:
        wrong = error.errors[0]
        raise InvalidLine.at(wrong.field, ADVICE.get(wrong.field, wrong.detail)) from error


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


def _user_id(values: Mapping[str, str], user_ids: Mapping[str, int]) -> int | str:
    if "user" in values:
        found = user_ids.get(values["user"].lower())
        if found is None:
            raise InvalidLine.at("user", f"There is no account for {values['user'][:254]}.")
        return found
    if "user_id" not in values:
        raise InvalidLine.at("user", "This cell is empty.")
    text = values["user_id"]
    return int(text) if _ID.fullmatch(text) else text


def _number(text: str) -> int | str:
    """Return the number that a cell holds; text that is none is refused by the schema."""
    return int(text) if _DIGITS.fullmatch(text) else text


def _metadata(values: Mapping[str, str]) -> Mapping[str, Any]:
    if "metadata" in values:
        return _json_object(values["metadata"])
    return {
        name.removeprefix(METADATA): text
        for name, text in values.items()
        if name.startswith(METADATA)
    }


def _json_object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidLine.at("metadata", "Write a JSON object.")
    return found
