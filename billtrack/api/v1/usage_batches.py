"""/usage/batch: many records in one request, an answer for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from flask import Response, current_app, request
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, WrapValidator
from pydantic_core import to_json

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.cloud_events import FIELDS, MEDIA_TYPE, SAMPLE_EVENT, CloudEvent, to_item
from billtrack.api.v1.idempotency import HEADER
from billtrack.api.v1.schemas import Body, Query
from billtrack.api.v1.terms import terms
from billtrack.core.errors import FieldError, InvalidError
from billtrack.platform.error_responses import MAX_ERRORS
from billtrack.platform.limits import Budget
from billtrack.platform.request_head import MAX_BODY, accepts_body
from billtrack.usage.ingest.intake import submit
from billtrack.usage.ingest.schema import MAX_RECORDS, NewUsage, invalid_record, read_batch
from billtrack.usage.records.outcomes import Outcome, Status
from billtrack.usage.records.submissions import Misshapen, Sent, UsageInput


class BatchRefused(InvalidError):
    """Not every record could be accepted, and all or nothing was asked for."""

    code = "batch_refused"


def _read_one(value: Any, read: Any) -> Any:
    try:
        return read(value)
    except ValidationError as error:
        return Misshapen(value, invalid_record(error))


def _as_record(event: Misshapen) -> Misshapen:
    item, origin = to_item(event.item)
    return Misshapen(item, event.error, origin)


class CloudEvents(RootModel[list[Annotated[CloudEvent, WrapValidator(_read_one)]]]):
    """Up to 10,000 usage records as CloudEvents 1.0."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True, json_schema_extra={"examples": [[SAMPLE_EVENT]]}
    )

    root: Annotated[
        list[Annotated[CloudEvent, WrapValidator(_read_one)]],
        Field(min_length=1, max_length=MAX_RECORDS),
    ]

    def sent(self) -> Sequence[Sent]:
        """Return each as intake takes it, or what is wrong with it."""
        return [_as_record(e) if isinstance(e, Misshapen) else e.to_input() for e in self.root]

    def place_of(self, index: int, field: str) -> str:
        """Name the place in the body that says this of a record."""
        return f"{index}.{FIELDS.get(field, field)}".rstrip(".")


@dataclass(slots=True)
class PlainBatch:
    """A batch of nothing but good records."""

    records: Sequence[UsageInput]

    def sent(self) -> Sequence[UsageInput]:
        """Return each as intake takes it."""
        return self.records

    def place_of(self, index: int, field: str) -> str:
        """Name the place in the body that says this of a record."""
        return _place_of(index, field)


class BatchIn(Body):
    """Up to 10,000 records, each as for a single one."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    other_spellings = {MEDIA_TYPE: CloudEvents}  # noqa: RUF012  (a ClassVar, as in Body)

    records: Annotated[
        list[Annotated[NewUsage, WrapValidator(_read_one)]],
        Field(min_length=1, max_length=MAX_RECORDS),
    ]

    @classmethod
    def read_json(cls, body: bytes) -> BatchIn | PlainBatch:
        """Return what the body says; raises ValidationError."""
        records = read_batch(body)
        return cls.model_validate_json(body) if records is None else PlainBatch(records)

    def sent(self) -> Sequence[Sent]:
        """Return each as intake takes it, or what is wrong with it."""
        return [r if isinstance(r, Misshapen) else r.to_input() for r in self.records]

    def place_of(self, index: int, field: str) -> str:
        """Name the place in the body that says this of a record."""
        return _place_of(index, field)


def _place_of(index: int, field: str) -> str:
    return f"records.{index}.{field}".rstrip(".")


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
@access.require(Permission.USAGE_RECORD, budget=None)
@accepts_body(up_to=MAX_BODY)
@api.input(BatchQuery, location="query")
@api.input(BatchIn)
@api.output(BatchOut)
@api.doc(responses={422: "The request is no batch, or with on_error=reject a record is refused"})
def record_batch(query_data: BatchQuery, json_data: BatchIn | CloudEvents | PlainBatch) -> Response:
    """Record usage, many records at once.

    Each record is answered for by itself, and one that is refused does not stop the others;
    with `on_error=reject` all of them are stored, or none. Repeating a batch is safe where
    its records have idempotency keys.

    `application/cloudevents-batch+json` is another spelling: a list of CloudEvents 1.0, where
    `id` is the idempotency key, unique within account and `source`; `subject` is the id of the
    user; the event is what stands after the last dot of `type`; `time` is `occurred_at`; of
    `data`, `quantity` is the quantity and all else metadata.
    """
    if HEADER in request.headers:
        raise InvalidError.at(HEADER, "Give each record of a batch an idempotency_key of its own.")
    is_whole, sent = query_data.on_error == "reject", json_data.sent()
    access.charge(Budget.USAGE, cost=len(sent))
    answers = submit(sent, terms=terms(), is_whole=is_whole)
    if is_whole:
        _require_all(answers, place_of=json_data.place_of)
    counts = Counter(answer.status for answer in answers)
    shown = [
        _item_json(index, answer)
        for index, answer in enumerate(answers)
        if query_data.results == "all" or answer.status is not Status.ACCEPTED
    ]
    # Not checked against the schema, which takes longer than writing it: contract tests do that.
    told = {**{status.value: counts[status] for status in Status}, "results": shown}
    return current_app.response_class(
        to_json(told, ensure_ascii=True) + b"\n", mimetype="application/json"
    )


def _require_all(answers: Sequence[Outcome], *, place_of: Callable[[int, str], str]) -> None:
    refused = [(n, answer.error) for n, answer in enumerate(answers) if answer.error is not None]
    if refused:
        errors = [
            FieldError(place_of(index, one.field), one.detail)
            for index, error in refused
            for one in error.errors or [FieldError("", error.detail)]
        ]
        raise BatchRefused(
            f"{len(refused)} of {len(answers)} records are refused, so none is stored.",
            errors=errors[:MAX_ERRORS],
        )


def _item_json(index: int, answer: Outcome) -> Mapping[str, Any]:
    error = answer.error
    return {
        "index": index,
        "status": answer.status.value,
        "id": answer.record_id,
        "code": error.code if error else None,
        "detail": error.detail if error else None,
    }
