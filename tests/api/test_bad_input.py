"""Whatever is sent: a refusal that says what is wrong, nothing written, never a 5xx."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billtrack.platform.request_head import MAX_BODY
from tests.api.refusals import (
    ID_TEXTS,
    NOT_DATE,
    NOT_ID,
    NOT_INSTANT,
    NOT_INTEGER,
    NOT_MONTH,
    NOT_PLAIN,
    NOT_TEXT,
    UNREADABLE,
    Refusals,
    changed,
    row_counts,
    without,
)
from tests.cast import Cast, create_record

NOW = datetime.now(UTC)
CHARGE = {"meter": "api_calls", "model": "per_unit", "unit_price": "0.50"}
TIERED = {"meter": "api_calls", "model": "graduated"}

NOT_NUMBER_OF_PAGE = ["0", "-1", "201", "abc", "", "1.5", "1.0", "1e1", "1_0", str(10**30)]
NOT_CURSOR = ["", "!!!", "é", "a" * 65, "%00", "id:1"] + [
    base64.urlsafe_b64encode(text.encode()).decode()
    for text in ("id:-1", "id:", "id:1.5", "page:1", "id:" + "9" * 30, "id:²", "id:\x00")
]

USAGE = {"quantity": 5, "event": "api_calls", "user_id": 0}
USAGE_FIELDS: dict[str, list[Any]] = {
    "quantity": [*NOT_INTEGER, 0, -1, 10**15 + 1, 2**63, 2**64, 10**400],
    "event": [*NOT_TEXT, *NOT_PLAIN, None, "API_CALLS", "1x", "a" * 65, "unheard_of", "api_calls "],
    "user_id": [*NOT_ID, 10**17],
    "idempotency_key": [*NOT_TEXT, *NOT_PLAIN, "k" * 256],
    "occurred_at": [
        *NOT_INSTANT,
        (NOW + timedelta(hours=3)).isoformat(),  # however long after the import it runs
        (NOW - timedelta(days=401)).isoformat(),
        "2000-01-01T00:00:00Z",
        "2999-12-31T23:59:59Z",
    ],
    "metadata": [
        1,
        "x",
        [],
        {"a": {"b": 1}},
        {"a": [1]},
        {"a": None},
        {"a": "\x00"},
        {"a": 10**3000},
        {"a": "v" * 2100},
        {f"k{n}": n for n in range(400)},
    ],
}
QUOTE: dict[str, Any] = {"currency": "USD", "charges": [CHARGE], "usage": {"api_calls": 5}}
PERIOD_FIELDS: dict[str, list[Any]] = {"month": NOT_MONTH, "format": [*NOT_TEXT, "", "exe", "PDF"]}

# method, path → a body that is accepted, its required fields, and what each field may not be
BODIES: dict[tuple[str, str], tuple[dict[str, Any], list[str], dict[str, list[Any]]]] = {
    ("POST", "/api/v1/usage/"): (USAGE, ["quantity", "event", "user_id"], USAGE_FIELDS),
    ("POST", "/api/v1/usage/batch"): (
        {"records": [USAGE]},
        ["records"],
        {"records": [*NOT_TEXT, "", [], {}, None]},
    ),
    ("POST", "/api/v1/usage/{record}/reverse"): (
        {"reason": "sent twice"},
        ["reason"],
        {"reason": [*NOT_TEXT, *NOT_PLAIN, None, "r" * 501]},
    ),
    ("POST", "/api/v1/users"): (
        {"email": "new@test.example", "name": "New"},
        ["email", "name"],
        {
            "email": [
                *NOT_TEXT,
                *NOT_PLAIN,
                None,
                "nobody",
                "a@b@c.example",
                "a@",
                "@b.example",
                "a@" + "b" * 250 + ".example",
                "a b@test.example",
                "a@xn--.example",
                "a@[1.2.3.4]",
            ],
            "name": [*NOT_TEXT, *NOT_PLAIN, None, "   ", "n" * 201],
            "role": [*NOT_TEXT, "", "root", "Admin"],
            "password": [*NOT_TEXT, "", "too short", "p" * 257],
        },
    ),
    ("PATCH", "/api/v1/users/{customer}"): (
        {"name": "New"},
        [],
        {
            "email": [*NOT_TEXT, *NOT_PLAIN, "nobody", "a@" + "b" * 250],
            "name": [*NOT_TEXT, *NOT_PLAIN, "   ", "n" * 201],
        },
    ),
    ("POST", "/api/v1/api-keys"): (
        {"name": "new"},
        ["name"],
        {
            "name": [*NOT_TEXT, *NOT_PLAIN, None, "n" * 101],
            "user_id": [*(bad for bad in NOT_ID if bad is not None), 10**17],
            "scopes": ["quote", 1, {}, [], [1], [None], ["everything"], ["s" * 65], ["quote"] * 65],
            "expires_at": [*NOT_INSTANT, NOW.isoformat(), "2000-01-01T00:00:00Z"],
        },
    ),
    ("POST", "/api/v1/reports/{customer}"): ({}, [], PERIOD_FIELDS),
    ("POST", "/api/v1/reports"): (
        {"user_ids": "all"},
        ["user_ids"],
        {
            **PERIOD_FIELDS,
            "user_ids": [
                1,
                True,
                None,
                {},
                "",
                "everybody",
                [],
                [None],
                ["1"],
                [1.0],
                [True],
                [0],
                [10**17],
                [10**18],
                [10**400],
                [1] * 10_001,
                [[1]],
            ],
        },
    ),
    ("POST", "/api/v1/quote"): (
        QUOTE,
        ["currency", "charges", "usage"],
        {
            "currency": [*NOT_TEXT, *NOT_PLAIN, None, "usd", "XYZ", "US"],
            "charges": [1, "x", None, {}, [1], [None], [[]], [CHARGE] * 201, [CHARGE, CHARGE]],
            "usage": [1, "x", None, [], {"API": 1}, {"": 1}, {"a\x00": 1}]
            + [{"api_calls": bad} for bad in [*NOT_INTEGER, -1, 10**18 + 1, 10**400]],
        },
    ),
}

NOT_TIERS: list[Any] = [None, 1, "x", [], {}, [CHARGE] * 101]

# the field of the first charge that is wrong, and the charge
CHARGES: list[tuple[str, dict[str, Any]]] = [
    ("meter", without(CHARGE, "meter")),
    *(("meter", changed(CHARGE, meter=bad)) for bad in [*NOT_TEXT, "", None]),
    *(("model", changed(CHARGE, model=bad)) for bad in [*NOT_TEXT, "", None, "flat"]),
    *(("per", changed(CHARGE, per=bad)) for bad in [*NOT_INTEGER, 0, -1, 10**19]),
    *(("included", changed(CHARGE, included=bad)) for bad in [*NOT_INTEGER, -1, 10**19]),
    *(
        (field, changed(CHARGE, **{field: bad}))
        for field in ("unit_price", "minimum", "maximum")
        for bad in [
            0,
            1,
            0.5,
            True,
            [],
            {},
            "",
            "-1",
            "1e3",
            "NaN",
            "Infinity",
            " 1",
            "+1",
            "1.",
            ".5",
            "0." + "1" * 13,
            "1" * 19,
            "1,5",
            "١",
        ]
    ),
    ("unit_price", without(CHARGE, "unit_price")),
    ("minimum", changed(CHARGE, minimum="2", maximum="1")),
    ("surprise", changed(CHARGE, surprise=1)),
    ("tiers", changed(CHARGE, tiers=[{"up_to": None, "unit_price": "1"}])),
    *(("tiers", changed(TIERED, tiers=bad)) for bad in NOT_TIERS),
    ("tiers.0", changed(TIERED, tiers=[1])),
    ("tiers.0.up_to", changed(TIERED, tiers=[{"unit_price": "1"}])),
    ("tiers.0.up_to", changed(TIERED, tiers=[{"up_to": 5, "unit_price": "1"}])),
    (
        "tiers.0.surprise",
        changed(TIERED, tiers=[{"up_to": None, "unit_price": "1", "surprise": 1}]),
    ),
    *(
        (
            "tiers.1.up_to",
            changed(TIERED, tiers=[{"up_to": upto, "unit_price": "1"} for upto in (5, bad, None)]),
        )
        for bad in [5, 4, 0, -1, None, "6", 6.0, True, 10**19]
    ),
    (
        "tiers.0.flat_fee",
        changed(TIERED, tiers=[{"up_to": None, "unit_price": "1", "flat_fee": 1}]),
    ),
]

PERIOD_QUERY: dict[str, list[str]] = {
    "from": ["2026-02-30&to=2026-03-01", "2026-10-01"],
    "to": ["2026-10-01"],
}
# path → query parameter → texts that are refused, naming it
QUERIES: dict[str, dict[str, list[str]]] = {
    "/api/v1/usage": {
        "user_id": ["0", "-1", "abc", "", "1.5", "1.0", str(10**18), str(10**400)],
        "event": ["", "API", "a" * 65, "a%00"],
        "limit": NOT_NUMBER_OF_PAGE,
        "cursor": NOT_CURSOR,
    },
    "/api/v1/usage/summary": {
        "user_id": ["0", "abc", str(10**18)],
        "event": ["", "API"],
        "group_by": ["", "year", "DAY"],
        "limit": ["5"],
    },
    "/api/v1/users": {
        "role": ["", "root"],
        "active": ["", "maybe", "2"],
        "search": ["s" * 101, "a%00b", "%0A"],
        "limit": NOT_NUMBER_OF_PAGE,
        "cursor": NOT_CURSOR,
    },
    "/api/v1/api-keys": {"limit": NOT_NUMBER_OF_PAGE, "cursor": NOT_CURSOR},
    "/api/v1/jobs": {"limit": NOT_NUMBER_OF_PAGE, "cursor": NOT_CURSOR},
    "/api/v1/users/{customer}/statement": {
        "month": [*(str(bad) for bad in NOT_MONTH), "2026-10%0A"]
    },
}
WITH_PERIOD = ["/api/v1/usage", "/api/v1/usage/summary", "/api/v1/users/{customer}/statement"]


@pytest.fixture
def refusals(cast: Cast) -> Iterator[Refusals]:
    """Sends as the administrator; at the end all was refused well and nothing was written."""
    collected = Refusals(cast.admin)
    create_record(cast)
    before = row_counts()
    yield collected
    assert not collected.wrong, "\n".join(collected.wrong)
    assert row_counts() == before


def test_it_refuses_every_wrong_value_of_every_field(cast: Cast, refusals: Refusals) -> None:
    for (method, path), (body, required, fields) in BODIES.items():
        address, valid = at(path, cast), known_user(body, cast)
        refusals.send(method, address, 422, field="surprise", json=changed(valid, surprise=1))
        for field in required:
            refusals.send(method, address, 422, field=field, json=without(valid, field))
        for field, values in fields.items():
            for value in values:
                wrong = changed(valid, **{field: value})
                refusals.send(method, address, 422, field=field, json=wrong)


def test_it_refuses_bodies_that_cannot_be_read(cast: Cast, refusals: Refusals) -> None:
    for method, path in BODIES:
        address = at(path, cast)
        for data, status in UNREADABLE.values():
            refusals.send(method, address, status, data=data, content_type="application/json")
        for kind in ("text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"):
            refusals.send(method, address, 415, data=b'{"a": 1}', content_type=kind)
            refusals.send(method, address, 415, data=b"{}", content_type=kind)
        chunked: dict[str, Any] = {
            "headers": {"Transfer-Encoding": "chunked"},
            "input_stream": io.BytesIO(b"{}"),
        }
        refusals.send(method, address, 411, content_type="application/json", **chunked)
    for method, path in list(BODIES)[:2]:
        refusals.send(method, at(path, cast), 413, data=b" " * (MAX_BODY + 1))


def test_it_refuses_numbers_that_are_none(cast: Cast, refusals: Refusals) -> None:
    for number in ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e5", "5.0"):
        quantity = f'{{"quantity": {number}, "event": "api_calls", "user_id": {cast.customer.id}}}'
        refusals.send("POST", "/api/v1/usage/", 422, field="quantity", **raw(quantity))
        if number[0] in "NI-" or "400" in number:
            valid = json.dumps(known_user(USAGE, cast))
            metadata = f'{valid[:-1]}, "metadata": {{"a": {number}}}}}'
            refusals.send("POST", "/api/v1/usage/", 422, field="metadata", **raw(metadata))
        usage = f'{{"currency": "USD", "charges": [], "usage": {{"api_calls": {number}}}}}'
        refusals.send("POST", "/api/v1/quote", 422, field="usage", **raw(usage))
        charge = json.dumps(QUOTE).replace('"meter"', f'"included": {number}, "meter"')
        refusals.send("POST", "/api/v1/quote", 422, field="charges.0.included", **raw(charge))


def test_it_refuses_numbers_of_thousands_of_digits(refusals: Refusals) -> None:
    body = '{"quantity": 1' + "0" * 5000 + "}"
    refusals.send("POST", "/api/v1/usage/", 400, **raw(body))


def test_it_names_the_wrong_field_of_a_charge(refusals: Refusals) -> None:
    for field, charge in CHARGES:
        body = changed(QUOTE, charges=[changed(CHARGE, meter="vm_uptime"), charge])
        refusals.send("POST", "/api/v1/quote", 422, field=f"charges.1.{field}", json=body)


def test_it_refuses_periods_that_are_none(cast: Cast, refusals: Refusals) -> None:
    october, reversed_days = (
        {"from": "2026-10-01", "to": "2026-10-31"},
        ["2026-10-02", "2026-10-01"],
    )
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("month", {"month": "2026-10", **october}),
        ("month", {"month": "2026-10", "from": "2026-10-01"}),
        ("to", {"from": "2026-10-01"}),
        ("from", {"to": "2026-10-31"}),
        ("to", dict(zip(("from", "to"), reversed_days, strict=True))),
        ("to", {"from": "2000-01-01", "to": "2999-12-31"}),
        *(("from", changed(october, **{"from": bad})) for bad in NOT_DATE),
        *(("to", changed(october, to=bad)) for bad in NOT_DATE),
    ]
    for field, asked in wrong:
        refusals.send("POST", f"/api/v1/reports/{cast.customer.id}", 422, field=field, json=asked)
        body = {"user_ids": "all", **asked}
        refusals.send("POST", "/api/v1/reports", 422, field=field, json=body)
        for path in WITH_PERIOD:
            named = field if "statement" in path or "month" not in asked else "month"
            refusals.send("GET", at(path, cast), 422, field=named, query_string=asked)


def test_it_refuses_wrong_query_parameters(cast: Cast, refusals: Refusals) -> None:
    for path, parameters in QUERIES.items():
        address = at(path, cast)
        for name, texts in {**parameters, "surprise": ["1"], "first": ["2026-10-01"]}.items():
            for text in texts:
                refusals.send("GET", f"{address}?{name}={text}", 422, field=name)
            refusals.send("GET", f"{address}?{name}=1&{name}=1", 422, field=name)


def test_it_refuses_wrong_idempotency_keys(cast: Cast, refusals: Refusals) -> None:
    for method, path in BODIES:
        if method != "POST" or "quote" in path or "reverse" in path:
            continue
        valid = known_user(BODIES[method, path][0], cast)
        for key in ("", "k" * 256, "a\x01b", "a\tb", "\x7f"):
            header = {"Idempotency-Key": key}
            field = "Idempotency-Key"
            refusals.send(method, at(path, cast), 422, field=field, json=valid, headers=header)


def test_it_finds_nothing_behind_ids_that_are_none(cast: Cast, refusals: Refusals) -> None:
    paths: dict[str, list[str]] = {
        "GET": [
            "usage/{}",
            "jobs/{}",
            "reports/status/{}",
            "users/{}",
            "users/{}/statement",
            "users/{}/subscriptions",
            "meters/{}",
            "plans/{}",
        ],
        "POST": [
            "usage/{}/reverse",
            "reports/{}",
            "users/{}/deactivate",
            "jobs/{}/retry",
            "api-keys/{}/revoke",
        ],
        "PATCH": ["users/{}"],
    }
    for method, templates in paths.items():
        for template in templates:
            body = {"reason": "r"} if "reverse" in template else {}
            options: dict[str, Any] = {} if method == "GET" else {"json": body}
            for text in [*ID_TEXTS, "999999999999", "%FF", "a" * 3000]:
                path = "/api/v1/" + template.format(text)
                refusals.send(method, path, 404, **options)


def test_it_refuses_methods_and_paths_that_it_does_not_know(refusals: Refusals) -> None:
    for path in ("/api/v1/usage", "/api/v1/users", "/api/v1/me", "/api/v1/health", "/api/v1/quote"):
        refusals.send("DELETE", path, 405)
        refusals.send("PUT", path, 405)
    for path in (
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/usage",
        "/api/v1/usage/1/2/3",
        "/api/v1/\x00",
    ):
        refusals.send("GET", path, 404)


def test_it_refuses_an_unknown_or_deactivated_user_by_code(cast: Cast) -> None:
    cast.admin.post(f"/api/v1/users/{cast.stranger.id}/deactivate")
    for user_id, code in ((10**17, "unknown_user"), (cast.stranger.id, "inactive_user")):
        answer = cast.provider.post("/api/v1/usage/", changed(USAGE, user_id=user_id))
        assert (answer.status_code, answer.get_json()["code"]) == (422, code)
        assert [error["field"] for error in answer.get_json()["errors"]] == ["user_id"]


def test_it_accepts_values_at_their_bounds(cast: Cast) -> None:
    earliest = datetime.now(UTC) - timedelta(days=400) + timedelta(minutes=1)
    latest = datetime.now(UTC) + timedelta(minutes=4)
    for fields in (
        {"quantity": 1},
        {"quantity": 10**15},
        {"idempotency_key": "k" * 255},
        {"idempotency_key": "é" * 255},
        {"occurred_at": earliest.isoformat()},
        {"occurred_at": latest.isoformat()},
        {"occurred_at": None, "metadata": None, "idempotency_key": None},
        {"metadata": {"text": "ü", "whole": 10**30, "part": 1.5, "yes": True, "": ""}},
    ):
        body = changed(known_user(USAGE, cast), **fields)
        answer = cast.provider.post("/api/v1/usage/", body)
        assert answer.status_code == 201, answer.get_json()
        stored = cast.provider.get(answer.headers["Location"]).get_json()
        assert stored["metadata"] == fields.get("metadata")


def test_it_needs_no_content_type_without_a_body(cast: Cast) -> None:
    assert cast.admin.post(f"/api/v1/reports/{cast.customer.id}").status_code == 202
    answer = cast.admin.post(f"/api/v1/reports/{cast.customer.id}", content_type="text/plain")
    assert answer.status_code == 202


def at(path: str, cast: Cast) -> str:
    return path.format(customer=cast.customer.id, record=1)


def known_user(body: dict[str, Any], cast: Cast) -> dict[str, Any]:
    return changed(body, user_id=cast.customer.id) if "user_id" in body else body


def raw(body: str) -> dict[str, Any]:
    return {"data": body, "content_type": "application/json"}
