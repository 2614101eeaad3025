"""Ways for people: the form on the page of usage, and files of CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.conformance import hooks
from tests.conformance.browsing import Browser
from tests.conformance.outcomes import (
    ACCEPTED,
    CONFLICT,
    DUPLICATE,
    GENERATED,
    REFUSED,
    REJECTED,
    Outcome,
)
from tests.conformance.people import TIMEZONE
from tests.conformance.records import Record
from tests.conformance.ways import Answer, Way
from tests.conformance.world import World, ask

ANY_PAGE = "/settings/profile"
"""A small page that everybody may open: it has a form, and says what the form before came to."""

FORM, IMPORTS = "/usage/records", "/usage/imports"
COLUMNS = ("user_id", "event", "quantity", "occurred_at", "idempotency_key", "metadata")
BY_INTAKE = frozenset({"quantity_overflow", "occurred_at_out_of_range", "idempotency_conflict"})
"""Codes that come from intake, which counts them. The form refuses all else by itself."""

TOLD = {
    "The usage is recorded.": ACCEPTED,
    "This was recorded before.": DUPLICATE,
    "This form was recorded before with other content.": CONFLICT,
    "This idempotency key belongs to a record with other content.": CONFLICT,
}


class Form(Way):
    """Form "Record usage". Typing errors are neither counted nor kept."""

    name = "form"
    names_id = False

    def send(self, world: World, record: Record) -> Answer:
        typed = {name: _typed(name, value) for name, value in world.body(record).items()}
        return answer_by_page(Browser(world, world.source(record)), FORM, typed)

    def code(self, outcome: Outcome) -> str | None:
        return None

    def status(self, outcome: Outcome) -> int:
        if outcome.verdict in {ACCEPTED, DUPLICATE}:
            return 303
        return outcome.status if outcome.verdict == REFUSED else 422

    def spends(self, outcome: Outcome) -> int:
        return 0

    def counted_as(self, outcome: Outcome) -> list[str]:
        is_typing = outcome.verdict == REJECTED and outcome.code not in BY_INTAKE
        return [] if is_typing else super().counted_as(outcome)

    def keeps(self, outcome: Outcome) -> list[str]:
        return []


def answer_by_page(browser: Browser, path: str, typed: Mapping[str, str]) -> Answer:
    """Send a form and read what the page says."""
    response = browser.send(path, typed, browser.token(ANY_PAGE))
    status, shown = response.status_code, response.get_data(as_text=True)
    if status == 303:
        shown = browser.open(ANY_PAGE).source
    elif status != 422:
        return Answer(REFUSED, None, status)
    verdicts = [verdict for text, verdict in TOLD.items() if text in shown]
    return Answer(verdicts[0] if verdicts else REJECTED, None, status)


def _typed(name: str, value: Any) -> str:
    """Return a value as it is typed into its field; an instant in the billing time zone."""
    if value is None:
        return ""
    if name != "occurred_at" or not isinstance(value, str):
        return str(value)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return value.removesuffix("Z")
    return at.astimezone(ZoneInfo(TIMEZONE)).strftime("%Y-%m-%dT%H:%M:%S")


class CsvFile(Way):
    """A file of one line that is sent on a page and taken in by a worker."""

    name = "CSV import"
    names_id = False

    def send(self, world: World, record: Record) -> Answer:
        source = world.source(record)
        browser = Browser(world, source)
        content = csv_of([world.body(record)])
        response = browser.upload(IMPORTS, content, browser.token(ANY_PAGE))
        if response.status_code != 303:
            return Answer(REFUSED, None, response.status_code)
        hooks.run_imports(world.app)
        query = "SELECT * FROM usage_imports WHERE recorded_by_id = :id"
        (done,) = ask(query, id=source.sender_id)
        lines = ask("SELECT code FROM usage_import_refusals WHERE import_id = :id", id=done["id"])
        verdicts = [v for v in (ACCEPTED, DUPLICATE, CONFLICT, REJECTED) if done[v]]
        assert len(verdicts) == 1, done
        return Answer(verdicts[0], lines[0]["code"] if lines else None, response.status_code)

    def code(self, outcome: Outcome) -> str | None:
        return None if outcome.verdict == REFUSED else outcome.code

    def status(self, outcome: Outcome) -> int:
        return outcome.status if outcome.verdict == REFUSED else 303

    def spends(self, outcome: Outcome) -> int:
        return 0

    def keeps(self, outcome: Outcome) -> list[str]:
        """An import keeps refused lines by itself, to be sent once more as a file."""
        return []

    def adapt(self, outcome: Outcome, record: Record) -> Outcome:
        return replace(outcome, key=GENERATED) if outcome.key is None else outcome


def csv_of(bodies: list[dict[str, Any]]) -> bytes:
    """Return records as a file; a field that is not sent is an empty cell."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for body in bodies:
        writer.writerow(_cell(name, body.get(name)) for name in COLUMNS)
    return file.getvalue().encode()


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) and name != "metadata" else json.dumps(value)


PAGE_WAYS = [Form(), CsvFile()]
