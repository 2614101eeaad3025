"""The Postman collection in the repository: made of the API as it is now."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from apiflask import APIFlask

from billtrack.api.v1.openapi import document
from billtrack.presentation.postman import FIRST, LAST, collection
from tests.answers import documented_path
from tests.postman import FILE

pytestmark = pytest.mark.one_database


@pytest.fixture
def stored() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def test_it_is_the_api_as_it_is_now(app: APIFlask, stored: dict[str, Any]) -> None:
    assert stored == collection(document()), "the API has changed: run `make postman`"


def test_it_has_every_operation_in_a_folder_for_each_tag(
    app: APIFlask, stored: dict[str, Any]
) -> None:
    spec = document()
    operations = {
        (method.upper(), path) for path, found in spec["paths"].items() for method in found
    }
    requests = {
        folder["name"]: [operation_of(item["request"]) for item in folder["item"]]
        for folder in stored["item"]
    }
    assert {one for inside in requests.values() for one in inside} == operations
    # Only the clean-up sends a request again, for each thing that is taken back.
    once = [one for name, inside in requests.items() if name != LAST for one in inside]
    assert sorted([*once, *set(requests[LAST])]) == sorted(operations)
    tags = {one["tags"][0] for found in spec["paths"].values() for one in found.values()}
    assert sorted(requests) == sorted([*tags, FIRST, LAST])
    assert [one for one in requests if one not in tags] == [FIRST, LAST]
    assert list(requests)[-1] == LAST


def test_every_id_is_empty_until_a_request_before_it_gives_it(stored: dict[str, Any]) -> None:
    values = {one["key"]: one["value"] for one in stored["variable"]}
    known = {name for name, value in values.items() if value}
    assert known == {"baseUrl", "planCode", "meterCode"}
    known.add("apiKey")
    for item in (item for folder in stored["item"] for item in folder["item"]):
        scripts = {one["listen"]: "\n".join(one["script"]["exec"]) for one in item["event"]}
        known |= given(scripts.get("prerequest", ""))
        needed = set(re.findall(r"\{\{(\w+)\}\}", json.dumps(item["request"])))
        assert needed <= known, item["name"]
        known |= given(scripts["test"])


def test_it_holds_no_secret(stored: dict[str, Any]) -> None:
    variables = {one["key"]: one["value"] for one in stored["variable"]}
    assert variables["apiKey"] == ""
    assert stored["auth"]["bearer"][0]["value"] == "{{apiKey}}"
    assert not re.search("bt_live|bt_refresh", json.dumps(stored))


def operation_of(request: dict[str, Any]) -> tuple[str, str]:
    return request["method"], documented_path(request)


def given(script: str) -> set[str]:
    return set(re.findall(r'run\.set\("(\w+)", (?!"")', script))
