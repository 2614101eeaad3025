"""How large a body may be, route by route, and what a wrong one costs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest
from apiflask import APIFlask
from pydantic import BaseModel, TypeAdapter, ValidationError

from billtrack.api.v1.cloud_events import CloudEvent, EventData
from billtrack.api.v1.reconciliation import ReconciliationIn
from billtrack.api.v1.reports import ReportsIn
from billtrack.api.v1.schemas import Body
from billtrack.api.v1.statements import QuoteIn
from billtrack.api.v1.usage_batches import BatchIn, CloudEvents
from billtrack.core.errors import InvalidError
from billtrack.platform.request_head import body_limit
from billtrack.usage.ingest.fields import Metadata
from billtrack.usage.records.submissions import Misshapen
from tests.cast import Cast

pytestmark = pytest.mark.one_database

KIB, MIB = 1024, 1024 * 1024
LISTS = {
    "api.record_batch": 16 * MIB,
    "api.reconcile_usage": 16 * MIB,
    "dashboard.import_usage": 16 * MIB,
    "dashboard.reconcile_usage": 16 * MIB,
    "api.create_reports": MIB,
    "api.quote": MIB,
}
SAFE = {"GET", "HEAD", "OPTIONS"}
MANY = {f"x{number}": 1 for number in range(20_000)}


def test_every_route_takes_64_kib_but_those_that_take_lists(app: APIFlask) -> None:
    taking = {r.endpoint for r in app.url_map.iter_rules() if (r.methods or set()) - SAFE}
    assert len(taking) > 60
    limits = {endpoint: body_limit(endpoint) for endpoint in taking}
    assert limits == {endpoint: LISTS.get(endpoint, 64 * KIB) for endpoint in taking}


def test_a_longer_body_is_413_whoever_sends_it(app: APIFlask, cast: Cast) -> None:
    url = app.url_map.bind("localhost")
    key = {"Authorization": f"Bearer {cast.admin.key}"}
    seen = 0
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - SAFE:
            values = dict.fromkeys(rule.arguments, "1")
            path = url.build(rule.endpoint, values, method)
            length = LISTS.get(rule.endpoint, 64 * KIB) + 1
            for headers in (key, {}):
                answer = app.test_client(use_cookies=False).open(
                    path,
                    method=method,
                    headers=headers,
                    environ_overrides={"CONTENT_LENGTH": str(length)},
                )
                assert answer.status_code == 413, (method, path)
                seen += 1
    assert seen > 120


@pytest.mark.parametrize("path", ["/api/v1/auth/token", "/api/v1/users", "/api/v1/usage/"])
def test_unpacked_bodies_count_like_others(cast: Cast, app: APIFlask, path: str) -> None:
    packed = gzip.compress(json.dumps(MANY).encode() + b" " * MIB)
    assert len(packed) < 64 * KIB
    answer = app.test_client(use_cookies=False).post(
        path,
        data=packed,
        content_type="application/json",
        headers={"Content-Encoding": "gzip", "Authorization": f"Bearer {cast.admin.key}"},
    )
    assert (answer.status_code, answer.get_json()["code"]) == (413, "body_too_large")
    assert "64 KiB, counted after unpacking" in answer.get_json()["detail"]


def models(base: type[BaseModel] = Body) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from models(model)


@pytest.mark.parametrize(
    "model", [*models(), CloudEvent, EventData], ids=lambda model: str(model.__name__)
)
def test_names_that_nobody_knows_cost_one_error(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as raised:
        model.model_validate_json(json.dumps(MANY))
    assert raised.value.error_count() < 60


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (ReportsIn, {"user_ids": ["x"] * 9_000}),
        (QuoteIn, {"currency": "USD", "charges": [1] * 199, "usage": {}}),
        (QuoteIn, {"currency": "USD", "charges": [], "usage": {f"e{n}": "x" for n in range(199)}}),
        (ReconciliationIn, {"totals": [{"a": n} for n in range(9_000)]}),
        (ReconciliationIn, {"totals": [{"a": n} for n in range(90_000)]}),
    ],
)
def test_a_list_of_wrong_items_costs_few_errors(model: type[BaseModel], body: object) -> None:
    with pytest.raises(ValidationError) as raised:
        model.model_validate_json(json.dumps(body))
    assert raised.value.error_count() < 60


def test_metadata_of_wrong_values_costs_one_error() -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(Metadata).validate_python(dict.fromkeys(MANY, None))
    assert raised.value.error_count() == 1


def test_a_batch_of_wrong_records_names_few_fields_of_each() -> None:
    record = {"quantity": 1, "event": "api_calls", "user_id": 1}
    bad = [{**record, **MANY}, {**record, "metadata": dict.fromkeys(MANY, None)}, record]
    batch = BatchIn.read_json(json.dumps({"records": bad}).encode())
    first, second, third = batch.sent()
    assert isinstance(first, Misshapen)
    assert isinstance(second, Misshapen)
    assert not isinstance(third, Misshapen)
    assert all(len(one.error.errors) == 1 for one in (first, second))
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "a", "subject": "1"}
    wrong = [{**event, "data": {"quantity": 1, **MANY}}, {**event, **MANY}, "no event"]
    events = CloudEvents.model_validate_json(json.dumps(wrong))
    for one in events.sent():
        assert isinstance(one, Misshapen)
        assert isinstance(one.error, InvalidError)
        assert len(one.error.errors) < 10


def test_a_batch_with_unknown_names_beside_its_records_is_refused(cast: Cast) -> None:
    record = {"quantity": 1, "event": "api_calls", "user_id": cast.customer.id}
    for beside in ({"x": 1}, MANY):
        answer = cast.provider.post("/api/v1/usage/batch", {"records": [record], **beside})
        assert answer.status_code == 422
        assert 1 <= len(answer.get_json()["errors"]) <= 50


def test_an_answer_names_at_most_50_fields(cast: Cast) -> None:
    charge = {"meter": "api_calls", "model": "graduated", "tiers": [{"x": 1}] * 100}
    body = {"currency": "USD", "charges": [charge] * 50, "usage": {}}
    answer = cast.admin.post("/api/v1/quote", body)
    assert (answer.status_code, len(answer.get_json()["errors"])) == (422, 50)
