"""The Postman collection in the repository: made of the API as it is now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask

from billtrack.api.v1.openapi import document
from billtrack.present.postman import CLEAN_UP, collection
from tests.answers import documented_path

FILE = Path(__file__).resolve().parents[2] / "docs" / "billtrack.postman_collection.json"


@pytest.fixture
def stored() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def test_it_is_the_api_as_it_is_now(app: APIFlask, stored: dict[str, Any]) -> None:
    assert stored == collection(document()), "the API has changed: run `make postman`"


def test_it_has_every_operation_once_in_a_folder_for_each_tag(
    app: APIFlask, stored: dict[str, Any]
) -> None:
    spec = document()
    operations = [
        (method.upper(), path) for path, found in spec["paths"].items() for method in found
    ]
    requests = [item["request"] for folder in stored["item"] for item in folder["item"]]
    assert sorted((request["method"], documented_path(request)) for request in requests) == sorted(
        operations
    )
    tags = {one["tags"][0] for found in spec["paths"].values() for one in found.values()}
    folders = [folder["name"] for folder in stored["item"]]
    assert sorted(folders) == sorted([*tags, CLEAN_UP])


def test_it_holds_no_secret(stored: dict[str, Any]) -> None:
    variables = {one["key"]: one["value"] for one in stored["variable"]}
    assert variables["apiKey"] == ""
    assert stored["auth"]["bearer"][0]["value"] == "{{apiKey}}"
    assert "bt_live" not in json.dumps(stored)
