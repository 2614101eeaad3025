"""Compare answers of the API with what its OpenAPI document promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]


def faults(value: Any, schema: Mapping[str, Any], spec: Mapping[str, Any]) -> list[str]:
    """Return where the value is not as this schema of the document says."""
    whole = {**schema, "components": spec["components"]}
    checker = Draft202012Validator(whole, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in checker.iter_errors(value)]


def assert_as_documented(
    spec: Mapping[str, Any], *, method: str, path: str, status: int, mimetype: str | None, body: Any
) -> None:
    """Check an answer against what the operation at this documented path promises."""
    label = f"{method} {path} {status}"
    promised = spec["paths"][path][method]["responses"][str(status)]["content"]
    assert mimetype in promised, label
    schema = promised[mimetype]["schema"]
    assert schema, f"{label} says nothing"
    assert faults(body, schema, spec) == [], label


def documented_path(request: dict[str, Any]) -> str:
    """Return the path of a Postman request as the OpenAPI document writes it."""
    parts = [f"{{{part[1:]}}}" if part[:1] == ":" else part for part in request["url"]["path"]]
    return "/" + "/".join(parts)
