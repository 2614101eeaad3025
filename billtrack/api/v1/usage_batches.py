"""/usage/batch: many records in one request, an answer for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from flask import request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator

from billtrack import access
from billtrack.accounts.permissions import Permission
from billtrack.api.v1.blueprint import api, field_errors
from billtrack.api.v1.idempotency import HEADER
from billtrack.api.v1.schemas import Body, Query
from billtrack.api.v1.usage import NewUsage, terms, to_input
from billtrack.core.errors import BilltrackError, FieldError, InvalidError
from billtrack.usage.intake import Outcome, Status, submit

MAX_RECORDS = 10_000
MAX_ERRORS = 50


class BatchRefused(InvalidError):
    """Not every record could be accepted, and all or nothing was asked for."""

    code = "batch_refused"


@dataclass(frozen=True, slots=True)
class Misshapen:
    """A record that is none: what is wrong with its fields."""

    error: InvalidError


def _read_one(value: Any, read: Any) -> Any:
    try:
        return read(value)
    except ValidationError as error:
        errors = field_errors(error)
        return Misshapen(InvalidError(f"{errors[0].field}: {errors[0].detail}", errors=errors))


class BatchIn(Body):
    """Up to 10,000 records, each as for a single one."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    records: Annotated[
        list[Annotated[NewUsage, WrapValidator(_read_one)]],
        Field(min_length=1, max_length=MAX_RECORDS),
    ]


class BatchQuery(Query):
    """Whether one bad record refuses all of them, and which answers to give."""

    on_error: Literal["continue", "reject"] = "continue"
    results: Literal["all", "problems"] = "all"


class ItemOut(BaseModel):
    """What became of the record at this place in the request, from 0."""

    index: int
    status: Literal["accepted", "duplicate", "conflict", "rejected"]
    id: int | None
    code: str | None
    detail: str | None


class BatchOut(BaseModel):
    """How many records became what, and an answer for each, in order."""

    accepted: int
    duplicate: int
    conflict: int
    rejected: int
    results: list[ItemOut]


@api.post("/usage/batch")
@access.require(Permission.USAGE_RECORD)
@api.input(BatchQuery, location="query")
@api.input(BatchIn)
@api.output(BatchOut)
@api.doc(responses={422: "The request is no batch, or with on_error=reject a record is refused"})
def record_batch(query_data: BatchQuery, json_data: BatchIn) -> dict[str, Any]:
    """Record usage, many records at once.

    Each record is answered for by itself, and one that is refused does not stop the others;
    with `on_error=reject` all of them are stored, or none. Repeating a batch is safe where
    its records have idempotency keys.
    """
    if HEADER in request.headers:
        raise InvalidError.at(HEADER, "Give each record of a batch an idempotency_key of its own.")
    is_whole = query_data.on_error == "reject"
    answers = list(_answers(json_data.records, is_whole=is_whole))
    if is_whole:
        _require_all(answers)
    counts = Counter(answer.status for answer in answers)
    shown = [
        _item_json(index, answer)
        for index, answer in enumerate(answers)
        if query_data.results == "all" or answer.status is not Status.ACCEPTED
    ]
    return {**{status.value: counts[status] for status in Status}, "results": shown}


def _answers(records: Sequence[NewUsage | Misshapen], *, is_whole: bool) -> Iterator[Outcome]:
    """Yield an outcome for each record, in order; stores nothing if that would not be all."""
    shaped = [record for record in records if not isinstance(record, Misshapen)]
    is_refused = is_whole and len(shaped) < len(records)
    inputs = [] if is_refused else [to_input(record, record.idempotency_key) for record in shaped]
    outcomes = iter(submit(inputs, terms=terms(), is_whole=is_whole))
    for record in records:
        if isinstance(record, Misshapen):
            yield Outcome(Status.REJECTED, error=record.error)
        elif not is_refused:
            yield next(outcomes)
        else:
            yield Outcome(Status.ACCEPTED)


def _require_all(answers: Sequence[Outcome]) -> None:
    refused = [(n, answer.error) for n, answer in enumerate(answers) if answer.error is not None]
    if refused:
        errors = [one for index, error in refused for one in _located(index, error)]
        raise BatchRefused(
            f"{len(refused)} of {len(answers)} records are refused, so none is stored.",
            errors=errors[:MAX_ERRORS],
        )


def _located(index: int, error: BilltrackError) -> list[FieldError]:
    if not error.errors:
        return [FieldError(f"records.{index}", error.detail)]
    return [FieldError(f"records.{index}.{one.field}", one.detail) for one in error.errors]


def _item_json(index: int, answer: Outcome) -> Mapping[str, Any]:
    error = answer.error
    return {
        "index": index,
        "status": answer.status.value,
        "id": answer.record_id,
        "code": error.code if error else None,
        "detail": error.detail if error else None,
    }
