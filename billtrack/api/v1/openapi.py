"""/openapi.json: the OpenAPI 3.1 document of the API, made from its routes."""

from __future__ import annotations

from typing import Any, cast

from apiflask import APIFlask
from flask import Response, current_app, jsonify
from pydantic import BaseModel

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.idempotency import HEADER, MAX_LENGTH
from billtrack.api.v1.usage_batches import BatchIn

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "request_id", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; decide by this."},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}

REFUSALS = {
    400: "The request cannot be read",
    401: "No valid credential",
    403: "The role or the key lacks the permission",
    404: "There is no such thing, or it is not yours",
    409: "The state or a key stands against it",
    408: "The body did not arrive within 60 seconds",
    411: "The body comes with a Transfer-Encoding other than chunked",
    413: "The body is larger than this operation takes, counted after unpacking",
    415: "The body is not JSON, or is packed in another way than gzip",
    422: "Invalid fields, or an unknown reference in the body",
    429: "Too many at once; Retry-After says when to try again",
    503: "A part that is needed is away; try again",
}

_KEY_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Repeating the request with the same key gives the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
}
_WITHOUT_KEY = (
    *("/quote", "/auth/token", "/token/refresh", "/token/revoke"),
    *("/usage/batch", "/usage/reconciliation", "/replay", "/reverse", "/erase"),
)
"""Posts that create nothing to keep, have a key for each part, or do the same when repeated."""

_WITH_KEY_ALONE = ("/invite", "/password-reset")
"""Posts that take a key and no body."""

_SIGN_IN_PATHS = {"/api/v1/auth/token", "/api/v1/auth/token/refresh", "/api/v1/auth/token/revoke"}
_PUBLIC_PATHS = {"/api/v1/health", "/api/v1/health/live", "/api/v1/health/ready", *_SIGN_IN_PATHS}
_CODES = {"meters": "api_calls", "plans": "standard"}
"""A code that exists everywhere, by resource."""


@api.get("/openapi.json")
@access.require(Permission.PROFILE, either=True)
@api.doc(hide=True)
def show_openapi() -> Response:
    """Answer with the OpenAPI document."""
    return jsonify(document())


def document() -> dict[str, Any]:
    """Return the OpenAPI document of the running app."""
    app = current_app
    if not isinstance(app, APIFlask):
        raise TypeError("the OpenAPI document belongs to an APIFlask app")
    spec = app._get_spec("json", force_update=True)  # noqa: SLF001
    return cast("dict[str, Any]", spec)


def init_app(app: APIFlask) -> None:
    """Configure and complete the document that APIFlask makes."""
    app.config.update(
        OPENAPI_VERSION="3.1.0",
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        AUTO_404_RESPONSE=False,
        AUTO_OPERATION_ID=True,
        HTTP_ERROR_SCHEMA={"$ref": "#/components/schemas/Problem"},
        SECURITY_SCHEMES={
            "ApiKey": {"type": "http", "scheme": "bearer"},
            "AccessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        },
        INFO={"description": "Record usage, see what it costs, get reports."},
    )
    app.spec_processor(lambda spec: _complete(cast("dict[str, Any]", spec)))


def _complete(spec: dict[str, Any]) -> dict[str, Any]:
    """Add what holds for every operation: credentials, refusals, ids, idempotency keys."""
    spec.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    for media_type, model in BatchIn.other_spellings.items():
        _add_body(spec, "/api/v1/usage/batch", media_type, model)
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            operation["tags"] = [_tag(path)]
            view = operation["operationId"].removeprefix(f"{method}_")
            operation["operationId"] = view.removeprefix("api_").removeprefix("health_")
            _complete_parameters(method, path, operation)
            if path not in _PUBLIC_PATHS:
                operation["security"] = [{"ApiKey": []}, {"AccessToken": []}]
            _repeat_answer(operation["responses"])
            for status in _refusals(method, path, operation):
                _add_refusal(operation["responses"], str(status), REFUSALS[status])
    return spec


def _add_body(spec: dict[str, Any], path: str, media_type: str, model: type[BaseModel]) -> None:
    """Name another media type that a POST to the path takes."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    spec["components"]["schemas"] |= schema.pop("$defs", {})
    spec["components"]["schemas"][model.__name__] = schema
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    spec["paths"][path]["post"]["requestBody"]["content"][media_type] = {"schema": reference}


def _complete_parameters(method: str, path: str, operation: dict[str, Any]) -> None:
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            is_code = parameter["name"] == "code"
            parameter["example"] = _CODES[path.split("/")[3]] if is_code else 1
        if parameter["in"] == "path" and parameter["name"].endswith("_id"):
            parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": 10**18 - 1}
        if parameter["in"] == "query":
            parameter["required"] = False
    takes_key = path.endswith(_WITH_KEY_ALONE) or (
        method == "post" and "requestBody" in operation and not path.endswith(_WITHOUT_KEY)
    )
    if takes_key:
        operation["parameters"].append(_KEY_PARAMETER)


def _refusals(method: str, path: str, operation: dict[str, Any]) -> list[int]:
    # How long a body is, is asked before anything else, also where none is wanted.
    found = [411, 413, 503]
    if path not in _PUBLIC_PATHS:
        found += [401, 403, 429]
    found += [int(status) for status in operation["responses"] if not status.startswith("2")]
    if "{" in path:
        found.append(404)
    if method != "get":
        found += [400, 408, 409, 415]
    is_checked = any(p["in"] in {"query", "header"} for p in operation["parameters"])
    if "requestBody" in operation or is_checked:
        found.append(422)
    return sorted(set(found))


def _repeat_answer(responses: dict[str, Any]) -> None:
    """Give the answer to a repeated request the shape of the first one."""
    if "200" in responses and "201" in responses:
        responses["200"]["content"] = responses["201"]["content"]


def _add_refusal(responses: dict[str, Any], status: str, description: str) -> None:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    known = responses.get(status, {})
    responses[status] = {
        "description": known.get("description", description),
        "content": content,
    }


def _tag(path: str) -> str:
    """Return the resource that an operation belongs to, as a heading."""
    parts = [part for part in path.removeprefix("/api/v1/").split("/") if "{" not in part]
    return (parts[-1] if parts[-1] in {"statement", "subscriptions"} else parts[0]).capitalize()
