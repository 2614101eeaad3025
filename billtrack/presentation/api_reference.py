"""The OpenAPI document as plain view data for docs/api.html."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

JsonDict = Mapping[str, Any]


def reference(spec: JsonDict, *, base_url: str) -> list[dict[str, Any]]:
    """Return the operations grouped by tag, in the order of the document."""
    groups: dict[str, dict[str, Any]] = {}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            tag = operation["tags"][0]
            slug = "about-" + tag.lower().replace(" ", "-")  # apart from the operations' ids
            empty: dict[str, Any] = {
                "tag": tag,
                "slug": slug,
                "description": "",
                "operations": [],
            }
            group = groups.setdefault(tag, empty)
            group["operations"].append(_operation(spec, path, method, operation, base_url))
    return list(groups.values())


def _operation(
    spec: JsonDict, path: str, method: str, operation: JsonDict, base_url: str
) -> dict[str, Any]:
    body = body_schema(spec, operation)
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation.get("summary", ""),
        "description": operation.get("description", ""),
        "parameters": [
            {
                "name": parameter["name"],
                "where": parameter["in"],
                "type": _type(spec, parameter["schema"]),
                "required": parameter.get("required", False),
                "description": parameter.get("description", ""),
            }
            for parameter in operation["parameters"]
        ],
        "request": _fields(spec, body),
        "responses": [
            {"status": status, "description": answer["description"]}
            for status, answer in sorted(operation["responses"].items())
        ],
        "example": _curl(spec, path, method, operation, base_url),
    }


def body_schema(spec: JsonDict, operation: JsonDict) -> JsonDict:
    """Return the schema of what the operation is sent, empty where it takes no body."""
    content = operation.get("requestBody", {}).get("content", {})
    return resolved(spec, content.get("application/json", {}).get("schema", {}))


def resolved(spec: JsonDict, schema: JsonDict) -> JsonDict:
    """Return the schema, followed to where it is written down."""
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].rsplit("/", 1)[-1]
    found: JsonDict = spec["components"]["schemas"][name]
    return found


def body_example(spec: JsonDict, schema: JsonDict) -> Any:
    """Return a value of this schema: the example it gives, else one made of what it requires."""
    schema = resolved(spec, schema)
    if schema.get("examples"):
        return schema["examples"][0]
    if "anyOf" in schema:
        return body_example(spec, schema["anyOf"][0])
    if "const" in schema:
        return schema["const"]
    if schema.get("type") == "array":
        return [body_example(spec, schema["items"])] if schema.get("minItems") else []
    if "properties" in schema:
        required = schema.get("required", [])
        named = schema["properties"].items()
        return {name: body_example(spec, field) for name, field in named if name in required}
    samples = {"integer": 1, "string": "text", "object": {}, "boolean": True}
    return samples.get(str(schema.get("type")), "text")


def _fields(spec: JsonDict, schema: JsonDict) -> list[dict[str, Any]]:
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "type": _type(spec, field),
            "required": name in required,
            "description": field.get("description", ""),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _type(spec: JsonDict, schema: JsonDict) -> str:
    schema = resolved(spec, schema)
    if "anyOf" in schema:
        kinds = [_type(spec, option) for option in schema["anyOf"]]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "null"))
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_type(spec, schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


def _curl(spec: JsonDict, path: str, method: str, operation: JsonDict, base_url: str) -> str:
    address = base_url + path
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            address = address.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
    lines = [f"curl -X {method.upper()} {address}"]
    if method == "get":
        lines[0] = f"curl {address}"
    if "security" in operation:
        lines.append("-H 'Authorization: Bearer bt_live_…'")
    if "requestBody" in operation:
        example = body_example(spec, body_schema(spec, operation))
        text = json.dumps(example, ensure_ascii=False).replace("'", r"'\''")
        lines += ["-H 'Content-Type: application/json'", f"-d '{text}'"]
    return " \\\n  ".join(lines)
