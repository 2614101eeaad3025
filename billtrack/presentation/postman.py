"""The OpenAPI document as a Postman collection (format 2.1) that runs from top to bottom.

A run works on an account of its own. Folders are sorted so that an id is known before a
request needs it. The first folder starts the run, the last one takes everything back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billtrack.presentation.api_reference import body_example, body_schema
from billtrack.presentation.postman_run import (
    BODIES,
    BY_THE_ACCOUNT,
    FIELDS,
    GIVES,
    NEEDS,
    QUERIES,
    RUN_VARIABLES,
    SET_UP,
    STATUSES,
    TAKES_BACK,
    VARIABLES,
)
from billtrack.presentation.postman_scripts import after, before

JsonDict = Mapping[str, Any]

FORMAT = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
BASE_URL = "http://localhost:6009"
ABOUT = """\
Set `baseUrl` to the address of your installation and `apiKey` to an API key of an administrator. \
Then run the whole collection from top to bottom.

The run opens a customer account and changes only this account. It makes two API keys for the \
account. They can only read, and they expire after an hour. One letter goes to the address of the \
account, which does not exist.

The folder "Clean up" takes everything back. It revokes the tokens and the API keys, reverses the \
usage records, and deactivates and erases the account. The account remains without name and \
address, with usage that adds up to zero. The audit log and the counts under "Sources" remain too.

A request is skipped while the run has no id for it. A folder alone therefore changes nothing; \
only "Set up" opens the account. If a run stops half-way, run "Clean up" with the same `baseUrl`.

"Me" shows the account of `apiKey`. "Sources", "Rejected-records" and the reconciliation read what \
this account sent; the list of sources shows its first entry only. Plans, meters and health are \
the same for everybody.\
"""
FIRST, LAST = "Set up", "Clean up"

_PARAMETER = re.compile(r"\{(\w+)\}")
_RUN_VARIABLE = re.compile(r"\{\{(run\w+)\}\}")


@dataclass(frozen=True, slots=True)
class _Call:
    """A request; `taken_back` is the variable of what it takes back, or empty."""

    method: str
    path: str
    operation: JsonDict
    taken_back: str = ""

    @property
    def id(self) -> str:
        return str(self.operation["operationId"])

    @property
    def folder(self) -> str:
        if self.id == SET_UP:
            return FIRST
        return LAST if self.taken_back else str(self.operation["tags"][0])

    @property
    def order(self) -> tuple[int, bool, bool]:
        place = list(TAKES_BACK).index(self.id) if self.taken_back else 0
        return place, self.id not in GIVES, self.method != "get"

    def variable(self, parameter: str) -> str:
        """Name the variable: `runUserId` for user_id; `planCode` for the code of /plans/{code}."""
        if self.taken_back:
            return self.taken_back
        if parameter in VARIABLES.get(self.id, {}):
            return VARIABLES[self.id][parameter]
        if parameter.endswith("_id"):
            return _camel(f"run_{parameter}")
        resource = self.path.partition(f"/{{{parameter}}}")[0].rpartition("/")[2]
        return _camel(f"{resource.removesuffix('s')}_{parameter}")


def collection(spec: JsonDict) -> dict[str, Any]:
    """Return the collection that holds every operation of the document."""
    calls = sorted(_calls(spec), key=lambda call: call.order)
    variables = {"baseUrl": BASE_URL, "apiKey": "", **_codes(calls)}
    variables |= dict.fromkeys(RUN_VARIABLES, "")
    return {
        "info": {"name": str(spec["info"]["title"]), "description": ABOUT, "schema": FORMAT},
        "auth": _bearer("apiKey"),
        "variable": [
            {"key": name, "value": value, "type": "string"} for name, value in variables.items()
        ],
        "item": [
            {"name": folder, "item": [item for _, item in inside]}
            for folder, inside in _folders([(call, _item(spec, call)) for call in calls])
        ],
    }


def _calls(spec: JsonDict) -> Iterator[_Call]:
    """Yield every operation; one that cleans up for each variable that it takes back."""
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            for taken_back in TAKES_BACK.get(operation["operationId"], [""]):
                yield _Call(method, path, operation, taken_back)


def _codes(calls: Sequence[_Call]) -> dict[str, str]:
    """Return the codes in paths that exist everywhere, by variable."""
    return {
        call.variable(parameter["name"]): parameter["example"]
        for call in calls
        for parameter in call.operation["parameters"]
        if parameter["in"] == "path" and not parameter["name"].endswith("_id")
    }


def _camel(name: str) -> str:
    first, *others = name.replace("-", "_").split("_")
    return first + "".join(part.capitalize() for part in others)


def _bearer(variable: str) -> dict[str, Any]:
    token = {"key": "token", "value": _use(variable), "type": "string"}
    return {"type": "bearer", "bearer": [token]}


def _use(variable: str) -> str:
    return "{{" + variable + "}}"


_Item = tuple[_Call, dict[str, Any]]


def _folders(items: Sequence[_Item]) -> Iterator[tuple[str, list[_Item]]]:
    """Yield the folders, each after those that give what it needs."""
    waiting: dict[str, list[_Item]] = {}
    for call, item in items:
        waiting.setdefault(call.folder, []).append((call, item))
    first, last = waiting.pop(FIRST), waiting.pop(LAST)
    yield FIRST, first
    known = _given(first)
    while waiting:
        given = {name for inside in waiting.values() for name in _given(inside)}
        ready = [
            name
            for name, inside in waiting.items()
            if not (_needed(inside) & given) - _given(inside) - known
        ]
        folder = ready[0] if ready else next(iter(waiting))
        inside = waiting.pop(folder)
        known |= _given(inside)
        yield folder, inside
    yield LAST, last


def _given(items: Sequence[_Item]) -> set[str]:
    return {name for call, _ in items for name in GIVES.get(call.id, {})}


def _needed(items: Sequence[_Item]) -> set[str]:
    return {name for call, item in items for name in _needs(call, item["request"])}


def _needs(call: _Call, request: JsonDict) -> set[str]:
    named = _RUN_VARIABLE.findall(json.dumps(request))
    return {*named, *([NEEDS[call.id]] if call.id in NEEDS else [])}


def _item(spec: JsonDict, call: _Call) -> dict[str, Any]:
    request = _request(spec, call)
    scripts = {
        "prerequest": before(call.id, _needs(call, request)),
        "test": after(call.id, _statuses(call), taken_back=call.taken_back),
    }
    return {
        "name": _name(call),
        "event": [
            {"listen": listen, "script": {"type": "text/javascript", "exec": lines}}
            for listen, lines in scripts.items()
            if lines
        ],
        "request": request,
        "response": [],
    }


def _name(call: _Call) -> str:
    name = re.split(r"[;.]", call.operation["summary"])[0]
    is_repeated = TAKES_BACK.get(call.id, ())[1:]
    return f"{name} ({call.taken_back})" if is_repeated else name


def _statuses(call: _Call) -> list[int]:
    answers = (int(status) for status in call.operation["responses"] if status.startswith("2"))
    return sorted(STATUSES.get(call.id, answers))


def _request(spec: JsonDict, call: _Call) -> dict[str, Any]:
    body = _body(spec, call)
    request: dict[str, Any] = {
        "method": call.method.upper(),
        "description": call.operation.get("description") or call.operation["summary"],
        "header": _headers(call.operation, body),
        "url": _url(call),
    }
    if body:
        options = {"raw": {"language": "json"}}
        request["body"] = {"mode": "raw", "raw": body, "options": options}
    if "security" not in call.operation:
        request["auth"] = {"type": "noauth"}
    elif call.id in BY_THE_ACCOUNT:
        request["auth"] = _bearer("runKey")
    return request


def _body(spec: JsonDict, call: _Call) -> str:
    if "requestBody" not in call.operation:
        return ""
    example = BODIES.get(call.id) or body_example(spec, body_schema(spec, call.operation))
    filled = {name: FIELDS.get(name, value) for name, value in example.items()}
    text = json.dumps(filled, indent=2, ensure_ascii=False)
    # A variable that stands for a number stands without quotes.
    return re.sub(r'"(\{\{\w+UserId\}\})"', r"\1", text)


def _headers(operation: JsonDict, body: str) -> list[dict[str, str]]:
    headers = [{"key": "Content-Type", "value": "application/json"}] if body else []
    named = [parameter["name"] for parameter in operation["parameters"]]
    if "Idempotency-Key" in named and '"idempotency_key"' not in body:
        headers.append({"key": "Idempotency-Key", "value": "{{runId}}"})
    return headers


def _url(call: _Call) -> dict[str, Any]:
    path = _PARAMETER.sub(r":\1", call.path)
    url: dict[str, Any] = {
        "raw": "{{baseUrl}}" + path,
        "host": ["{{baseUrl}}"],
        "path": path.strip("/").split("/") + ([""] if path.endswith("/") else []),
        "variable": [
            {"key": name, "value": _use(call.variable(name))}
            for name in _PARAMETER.findall(call.path)
        ],
    }
    named = [one["name"] for one in call.operation["parameters"] if one["in"] == "query"]
    if named:
        url["query"] = [_query(name, QUERIES.get(call.id, {})) for name in named]
    return url


def _query(name: str, filters: Mapping[str, str]) -> dict[str, Any]:
    """Return a filter: switched on if the run has a value for it, else to be switched on."""
    return {"key": name, "value": filters.get(name, ""), "disabled": name not in filters}
