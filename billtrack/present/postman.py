"""The OpenAPI document as a Postman collection (format 2.1) that runs from top to bottom.

Folders and requests are ordered so that what an answer brings (the id of an account, of a
record, of a job) is known before it is asked for; what undoes something comes last.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billtrack.present.api_reference import body_example, body_schema, resolved

JsonDict = Mapping[str, Any]

FORMAT = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
BASE_URL = "http://localhost:6009"
ABOUT = (
    "Put the address of your installation into `baseUrl` and the API key of an administrator "
    "into `apiKey`. Run the whole collection, or requests one by one: ids are taken over from "
    "answers. It opens an account, records usage for it, and takes all of that back at the end."
)
CLEAN_UP = "Clean up"
ENDINGS = {"archive", "deactivate", "reverse", "revoke", "void"}
FRESH = {"email": "{{$guid}}@kiln.example", "idempotency_key": "{{$guid}}"}
"""Fields that must be new each time the request is sent."""

MAY_BE_REFUSED: dict[str, tuple[int, ...]] = {
    # No job has failed, no password is there.
    **dict.fromkeys(("retry_job", "reset_password"), (409,)),
    # It wants the address of the account, lest the whole collection erases somebody.
    "erase_user": (422,),
    # What was sent just now is counted in a moment.
    **dict.fromkeys(("show_source", "list_source_hours"), (404,)),
    **dict.fromkeys(("show_rejected_record", "replay_rejected_record"), (404,)),
    # Neither a password nor a token lies in the collection.
    **dict.fromkeys(("issue_token", "refresh_token"), (401, 429)),
}
"""What is refused where all is well, and how."""

_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class _Call:
    """A request: the variables it needs, and those its answer gives, by property."""

    method: str
    path: str
    operation: JsonDict
    needs: frozenset[str]
    gives: Mapping[str, str]

    @property
    def folder(self) -> str:
        is_ending = self.path.rpartition("/")[2] in ENDINGS or self.method == "delete"
        return CLEAN_UP if is_ending else str(self.operation["tags"][0])

    @property
    def order(self) -> tuple[bool, bool]:
        return not self.gives, self.method != "get"


def collection(spec: JsonDict) -> dict[str, Any]:
    """Return the collection that holds every operation of the document once."""
    variables = _variables(spec)
    calls = [
        _call(spec, method, path, operation, variables.keys())
        for path, operations in spec["paths"].items()
        for method, operation in operations.items()
    ]
    title = str(spec["info"]["title"])
    return {
        "info": {"name": title, "description": ABOUT, "schema": FORMAT},
        "auth": {
            "type": "bearer",
            "bearer": [{"key": "token", "value": "{{apiKey}}", "type": "string"}],
        },
        "variable": [
            {"key": name, "value": value, "type": "string"}
            for name, value in {"baseUrl": BASE_URL, "apiKey": "", **variables}.items()
        ],
        "item": [
            {"name": folder, "item": [_item(spec, call, variables.keys()) for call in inside]}
            for folder, inside in _folders(calls)
        ],
    }


def _variables(spec: JsonDict) -> dict[str, str]:
    """Return the variable of every parameter in a path, with its example."""
    return {
        _variable(path, parameter["name"]): str(parameter["example"])
        for path, operations in spec["paths"].items()
        for operation in operations.values()
        for parameter in operation["parameters"]
        if parameter["in"] == "path"
    }


def _variable(path: str, parameter: str) -> str:
    """Name the variable: `userId` for user_id; `planCode` for the code of /plans/{code}."""
    if not parameter.endswith("_id"):
        resource = path.partition(f"/{{{parameter}}}")[0].rpartition("/")[2]
        parameter = f"{resource.removesuffix('s').replace('-', '_')}_{parameter}"
    return _camel(parameter)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def _use(variable: str) -> str:
    return "{{" + variable + "}}"


def _call(
    spec: JsonDict, method: str, path: str, operation: JsonDict, variables: Collection[str]
) -> _Call:
    properties = _answer_properties(spec, operation) if method == "post" else set()
    gives = {name: name for name in variables if name in properties}
    inside = path.rstrip("/") + "/"
    for longer in spec["paths"]:
        found = _PARAMETER.match(longer.removeprefix(inside)) if inside in longer else None
        if found is not None:
            given = "id" if found[1].endswith("_id") else found[1]
            gives |= {_variable(longer, found[1]): given} if given in properties else {}
    named = {_variable(path, name) for name in _PARAMETER.findall(path)}
    sent = _body(spec, operation, variables)
    named |= {name for name in variables if _use(name) in sent}
    return _Call(method, path, operation, frozenset(named), gives)


def _answer_properties(spec: JsonDict, operation: JsonDict) -> set[str]:
    status = min(operation["responses"])
    content = operation["responses"][status]["content"].get("application/json", {})
    return set(resolved(spec, content.get("schema", {})).get("properties", {}))


def _folders(calls: Sequence[_Call]) -> Iterator[tuple[str, list[_Call]]]:
    """Yield the folders, each after those that give what it needs."""
    waiting: dict[str, list[_Call]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.order):
        waiting[call.folder].append(call)
    last = waiting.pop(CLEAN_UP, [])
    known: set[str] = set()
    while waiting:
        given = {name for inside in waiting.values() for call in inside for name in call.gives}
        ready = [name for name, inside in waiting.items() if _is_ready(inside, given, known)]
        folder = ready[0] if ready else next(iter(waiting))
        inside = waiting.pop(folder)
        known |= {name for call in inside for name in call.gives}
        yield folder, inside
    yield CLEAN_UP, last


def _is_ready(calls: Sequence[_Call], given: set[str], known: set[str]) -> bool:
    own = {name for call in calls for name in call.gives}
    needed = {name for call in calls for name in call.needs}
    return not (needed & given) - own - known


def _item(spec: JsonDict, call: _Call, variables: Collection[str]) -> dict[str, Any]:
    body = _body(spec, call.operation, variables)
    request: dict[str, Any] = {
        "method": call.method.upper(),
        "description": call.operation.get("description") or call.operation["summary"],
        "header": _headers(call.operation, body),
        "url": _url(call, variables),
    }
    if body:
        options = {"raw": {"language": "json"}}
        request["body"] = {"mode": "raw", "raw": body, "options": options}
    if "security" not in call.operation:
        request["auth"] = {"type": "noauth"}
    script = {"type": "text/javascript", "exec": list(_script(call))}
    return {
        "name": re.split(r"[;.]", call.operation["summary"])[0],
        "event": [{"listen": "test", "script": script}],
        "request": request,
        "response": [],
    }


def _body(spec: JsonDict, operation: JsonDict, variables: Collection[str]) -> str:
    if "requestBody" not in operation:
        return ""
    example = body_example(spec, body_schema(spec, operation))
    text = json.dumps(_filled(example, variables), indent=2, ensure_ascii=False)
    # A variable that stands for a number stands without quotes.
    return re.sub(r'"(\{\{\w+Id\}\})"', r"\1", text)


def _filled(example: Any, variables: Collection[str]) -> Any:
    """Return the example with variables where it names what another request gives."""
    if isinstance(example, list):
        return [_filled(item, variables) for item in example]
    if not isinstance(example, dict):
        return example
    filled = {}
    for name, value in example.items():
        variable = _camel(name.removesuffix("s"))
        filled[name] = FRESH.get(name) or _filled(value, variables)
        if variable in variables and value != "all":
            filled[name] = [_use(variable)] if isinstance(value, list) else _use(variable)
    return filled


def _headers(operation: JsonDict, body: str) -> list[dict[str, str]]:
    headers = [{"key": "Content-Type", "value": "application/json"}] if body else []
    named = [parameter["name"] for parameter in operation["parameters"]]
    if "Idempotency-Key" in named and '"idempotency_key"' not in body:
        headers.append({"key": "Idempotency-Key", "value": "{{$guid}}"})
    return headers


def _url(call: _Call, variables: Collection[str]) -> dict[str, Any]:
    path = _PARAMETER.sub(r":\1", call.path)
    url: dict[str, Any] = {
        "raw": "{{baseUrl}}" + path,
        "host": ["{{baseUrl}}"],
        "path": path.strip("/").split("/") + ([""] if path.endswith("/") else []),
        "variable": [
            {"key": name, "value": _use(_variable(call.path, name))}
            for name in _PARAMETER.findall(call.path)
        ],
    }
    asked = [one for one in call.operation["parameters"] if one["in"] == "query"]
    if asked:
        url["query"] = [_query(one, variables) for one in asked]
    return url


def _query(parameter: JsonDict, variables: Collection[str]) -> dict[str, Any]:
    """Return a filter to switch on; without any of them the request asks for everything."""
    variable = _camel(parameter["name"])
    value = _use(variable) if variable in variables else ""
    return {"key": parameter["name"], "value": value, "disabled": True}


def _script(call: _Call) -> Iterator[str]:
    """Yield JavaScript that checks the status of the answer and keeps what it gives."""
    expected = [int(status) for status in call.operation["responses"] if status.startswith("2")]
    expected += MAY_BE_REFUSED.get(call.operation["operationId"], ())
    statuses = ", ".join(map(str, sorted(expected)))
    yield (
        f'pm.test("answers {statuses}", '
        f"() => pm.expect(pm.response.code).to.be.oneOf([{statuses}]));"
    )
    for variable, given in call.gives.items():
        yield f'pm.collectionVariables.set("{variable}", pm.response.json().{given});'
