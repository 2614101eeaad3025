"""What every operation refuses, whatever it is about, stands in the OpenAPI document."""

from __future__ import annotations

import json
import re
from itertools import product
from typing import Any

import pytest
from apiflask import APIFlask

from billtrack.api.v1.openapi import document
from billtrack.platform.request_head import MAX_BODY
from tests.answers import assert_as_documented
from tests.cast import Cast

pytestmark = pytest.mark.one_database

JSON = "application/json"

# What is odd about the request, and how the operations that read it at all refuse it.
ODD: dict[str, tuple[dict[str, Any], set[int]]] = {
    "no credential": ({"headers": {"Authorization": ""}}, {401}),
    "unknown credential": ({"headers": {"Authorization": "Bearer bt_live_x"}}, {401}),
    "chunked": ({"headers": {"Transfer-Encoding": "chunked"}}, {411}),
    "too large": ({"environ_overrides": {"CONTENT_LENGTH": str(MAX_BODY + 1)}}, {413}),
    "no JSON": ({"data": b"text", "content_type": "text/plain"}, {415}),
    "packed otherwise": (
        {"data": b"{}", "content_type": JSON, "headers": {"Content-Encoding": "br"}},
        {415},
    ),
    "damaged gzip": (
        {"data": b"{}", "content_type": JSON, "headers": {"Content-Encoding": "gzip"}},
        {400},
    ),
    "cut short": ({"data": b"{", "content_type": JSON}, {400}),
    "an empty key": (
        {"data": b"{}", "content_type": JSON, "headers": {"Idempotency-Key": ""}},
        {422},
    ),
    "a parameter twice": ({"query_string": "limit=1&limit=2&none=%00%ff"}, {422}),
}


def test_it_documents_the_refusals_of_each_operation(app: APIFlask, cast: Cast) -> None:
    spec = json.loads(app.json.dumps(document()))
    statuses: dict[str, set[int]] = {what: set() for what in ODD}
    for path, operations in spec["paths"].items():
        for method, what in product(operations, ODD):
            options = ODD[what][0]
            headers = {"Authorization": f"Bearer {cast.admin.key}", **options.get("headers", {})}
            answer = app.test_client(use_cookies=False).open(
                re.sub(r"{\w+}", str(cast.customer.id), path),
                method=method,
                buffered=True,  # read to its end, as what is streamed wants to be
                **{**options, "headers": headers},
            )
            statuses[what].add(answer.status_code)
            promised = spec["paths"][path][method]["responses"]
            label = f"{what}: {method} {path} answers {answer.status_code}"
            assert str(answer.status_code) in promised, label
            assert_as_documented(
                spec,
                method=method,
                path=path,
                status=answer.status_code,
                mimetype=answer.mimetype,
                body=answer.json,
            )
    assert {what: found & ODD[what][1] for what, found in statuses.items()} == {
        what: expected for what, (_, expected) in ODD.items()
    }
