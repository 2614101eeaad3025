"""Postman without Postman: sends the requests of a collection and does what its scripts say.

It knows the JavaScript that the collection is written in, and fails on any other.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.scenarios.harness import Answer, Installation

FILE = Path(__file__).resolve().parents[1] / "docs" / "billtrack.postman_collection.json"

_FIND = re.compile(r'answer\.data\?\.find\(.+ === run\.get\("(\w+)"\) \+ "(.+)"\)\?\.id')


class Skipped(Exception):
    """A script before the request said that it is not to be sent."""


@dataclass(frozen=True)
class Sent:
    """A request of the collection, and its answer; None where it was skipped."""

    request: dict[str, Any]
    answer: Answer | None


class Postman:
    """A collection that was just imported, with an address and a key."""

    def __init__(self, installation: Installation, key: str) -> None:
        self.content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
        self._installation = installation
        self.variables = {one["key"]: one["value"] for one in self.content["variable"]}
        self.variables |= {"baseUrl": f"http://localhost:{installation.port}", "apiKey": key}

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [item["request"] for folder in self.content["item"] for item in folder["item"]]

    def run(self, *folders: str) -> Iterator[Sent]:
        """Run these folders in the order of the collection, or all of them."""
        for folder in self.content["item"]:
            if not folders or folder["name"] in folders:
                for item in folder["item"]:
                    yield from self._run_item(item)

    def send(self, request: dict[str, Any]) -> Answer:
        """Send a request as it is, whatever its variables are."""
        url = request["url"]
        named = {one["key"]: self._filled(one["value"]) for one in url["variable"]}
        parts = [named[part[1:]] if part[:1] == ":" else part for part in url["path"]]
        asked = [one for one in url.get("query", []) if not one.get("disabled")]
        query = "&".join(f"{one['key']}={self._filled(one['value'])}" for one in asked)
        auth = request.get("auth", self.content["auth"])
        return self._installation.ask(
            request["method"],
            "/" + "/".join(parts) + (f"?{query}" if query else ""),
            key=self._filled(auth["bearer"][0]["value"]) if auth["type"] == "bearer" else None,
            body=self._filled(request["body"]["raw"]) if "body" in request else None,
            headers={one["key"]: self._filled(one["value"]) for one in request["header"]},
        )

    def _run_item(self, item: dict[str, Any]) -> Iterator[Sent]:
        scripts = {one["listen"]: one["script"]["exec"] for one in item["event"]}
        is_again = True
        while is_again:
            try:
                Script(self.variables, self._filled, None).run(scripts.get("prerequest", []))
            except Skipped:
                yield Sent(item["request"], None)
                return
            answer = self.send(item["request"])
            script = Script(self.variables, self._filled, answer)
            script.run(scripts["test"])
            yield Sent(item["request"], answer)
            is_again = script.is_again

    def _filled(self, text: str) -> str:
        text = text.replace("{{$guid}}", str(uuid.uuid4()))
        return re.sub(r"\{\{(\w+)\}\}", lambda found: self.variables[found[1]], text)


class Script:
    """One script while it runs, before the request or after its answer."""

    def __init__(
        self, variables: dict[str, str], fill: Callable[[str], str], answer: Answer | None
    ) -> None:
        self._variables, self._fill, self._answer = variables, fill, answer
        self._names: dict[str, Any] = {}
        self.is_again = False

    def run(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._run(line)

    def _run(self, line: str) -> None:
        statements: dict[str, Callable[..., None]] = {
            r"const run = pm\.collectionVariables;": lambda: None,
            r"const (\w+) = (.+);": self._name,
            r"if \(((?:[^()]|\([^()]*\))+)\) (.+;)": self._run_if,
            r'run\.set\("(\w+)", (.+)\);': self._set,
            r'(\[.+\])\.forEach\(\(name\) => run\.set\(name, ""\)\);': self._clear,
            r'pm\.test\(".+", \(\) => pm\.expect\((.+)\)\.to\.be\.(.+)\);': self._expect,
            r"pm\.execution\.skipRequest\(\);": self._skip,
            r"setTimeout\(\(\) => pm\.execution\.setNextRequest\(.+\), (\d+)\);": self._again,
        }
        _matching(statements, line)

    def _name(self, name: str, value: str) -> None:
        self._names[name] = self._value(value)

    def _run_if(self, condition: str, line: str) -> None:
        if self._value(condition):
            self._run(line)

    def _set(self, variable: str, value: str) -> None:
        self._variables[variable] = str(self._value(value))

    def _clear(self, variables: str) -> None:
        self._variables |= dict.fromkeys(json.loads(variables), "")

    def _expect(self, value: str, wanted: str) -> None:
        codes = re.fullmatch(r"oneOf\((.+)\)", wanted)
        expected = json.loads(codes[1]) if codes else [wanted == "true"]
        assert self._value(value) in expected, self._answer

    def _skip(self) -> None:
        raise Skipped

    def _again(self, milliseconds: str) -> None:
        time.sleep(int(milliseconds) / 1000)
        self.is_again = True

    def _value(self, text: str) -> Any:
        """Return the value of an expression; operators bind as in JavaScript."""
        if found := _FIND.fullmatch(text):
            return self._find(self._variables[found[1]] + found[2])
        if found := re.fullmatch(r"(.+) \? (.+) : (.+)", text):
            return self._value(found[2] if self._value(found[1]) else found[3])
        if found := re.fullmatch(r"(.+?) \|\| (.+)", text):
            return self._value(found[1]) or self._value(found[2])
        if found := re.fullmatch(r"(.+?) && (.+)", text):
            return self._value(found[1]) and self._value(found[2])
        if found := re.fullmatch(r"(.+) (===|!==|<) (.+)", text):
            left, right = self._value(found[1]), self._value(found[3])
            return left < right if found[2] == "<" else (left == right) is (found[2] == "===")
        return self._term(text)

    def _term(self, text: str) -> Any:
        terms: dict[str, Callable[..., Any]] = {
            r"(\d+)": int,
            r'"([^"]*)"': str,
            r"(\w+)": self._names.__getitem__,
            r"!(\w+)": lambda name: not self._names[name],
            r"answer((?:\.|\?\.)\w.*)": self._within,
            r"pm\.response\.json\(\)": lambda: self._json,
            r"pm\.response\.code": lambda: self._status,
            r"(\[.+\])\.includes\(pm\.response\.code\)": lambda c: self._status in json.loads(c),
            r'run\.get\("(\w+)"\)': self._variables.__getitem__,
            r'Number\(run\.get\("(\w+)"\)\) \+ 1': lambda n: int(self._variables[n] or 0) + 1,
            r"(\[.+\])\.every\(\(name\) => run\.get\(name\)\)": lambda n: all(self._known(n)),
            r"(\[.+\])\.some\(\(name\) => run\.get\(name\)\)": lambda n: any(self._known(n)),
            r'pm\.variables\.get\("(\w+)"\)': self._variables.__getitem__,
            r'pm\.variables\.replaceIn\("(.+)"\)': self._fill,
            r"new Date\(Date\.now\(\) \+ (\d+)\)\.toISOString\(\)": _instant_in,
        }
        return _matching(terms, text)

    def _known(self, names: str) -> list[bool]:
        return [bool(self._variables[name]) for name in json.loads(names)]

    def _within(self, path: str) -> Any:
        """Return what the answer has at a path such as `.results?.[0]?.id`, or None."""
        value = self._json
        for name, place in re.findall(r"\.(\w+)|\.\[(\d+)\]", path):
            if value:
                value = value[int(place)] if place else value.get(name)
        return value

    def _find(self, key: str) -> int | None:
        """Return the id of the rejected record with this idempotency key, or None."""
        for one in self._json["data"]:
            if isinstance(one["item"], dict) and one["item"].get("idempotency_key") == key:
                return int(one["id"])
        return None

    @property
    def _json(self) -> Any:
        assert self._answer is not None
        return self._answer.json

    @property
    def _status(self) -> int:
        assert self._answer is not None
        return self._answer.status


def _matching(meanings: Mapping[str, Callable[..., Any]], text: str) -> Any:
    for pattern, meaning in meanings.items():
        if found := re.fullmatch(pattern, text):
            return meaning(*found.groups())
    raise AssertionError(f"unknown JavaScript: {text}")


def _instant_in(milliseconds: str) -> str:
    return (datetime.now(UTC) + timedelta(milliseconds=int(milliseconds))).isoformat()
