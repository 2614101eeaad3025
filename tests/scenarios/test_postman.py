"""The Postman collection is run as it lies in the repository, from top to bottom."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

from billtrack.accounts.permissions import Role
from tests.answers import assert_as_documented, documented_path
from tests.scenarios.accounts import create_account
from tests.scenarios.harness import Answer, Installation, eventually

FILE = Path(__file__).resolve().parents[2] / "docs" / "billtrack.postman_collection.json"
CHECK = re.compile(
    r'pm\.test\("[^"]+", \(\) => pm\.expect\(pm\.response\.code\)\.to\.be\.oneOf\(\[(.+)\]\)\);'
)
KEEP = re.compile(r'pm\.collectionVariables\.set\("(\w+)", pm\.response\.json\(\)\.(\w+)\);')


class Postman:
    """Does with a request what Postman does: variables in, test script after the answer."""

    def __init__(self, content: dict[str, Any], installation: Installation, key: str) -> None:
        self._auth = content["auth"]["bearer"][0]["value"]
        self._installation = installation
        self.variables = {one["key"]: one["value"] for one in content["variable"]}
        self.variables |= {"baseUrl": "", "apiKey": key}

    def send(self, request: dict[str, Any]) -> Answer:
        """Send a request and return the answer."""
        url = request["url"]
        named = {one["key"]: self._filled(one["value"]) for one in url["variable"]}
        parts = [named[part[1:]] if part[:1] == ":" else part for part in url["path"]]
        asked = [one for one in url.get("query", []) if not one.get("disabled")]
        assert asked == []
        headers = {one["key"]: self._filled(one["value"]) for one in request["header"]}
        body = self._filled(request["body"]["raw"]) if "body" in request else None
        auth = request.get("auth", {"type": "bearer"})["type"]
        return self._installation.ask(
            request["method"],
            self._filled(url["host"][0]) + "/" + "/".join(parts),
            key=self._filled(self._auth) if auth == "bearer" else None,
            body=body,
            headers=headers,
        )

    def run_script(self, lines: list[str], answer: Answer) -> None:
        """Do what the test script says; only lines that are known are allowed in it."""
        for line in lines:
            if check := CHECK.fullmatch(line):
                assert answer.status in {int(code) for code in check[1].split(", ")}, answer.text
                continue
            keep = KEEP.fullmatch(line)
            assert keep is not None, line
            self.variables[keep[1]] = str(answer.json[keep[2]])

    def _filled(self, text: str) -> str:
        text = text.replace("{{$guid}}", str(uuid.uuid4()))
        return re.sub(r"\{\{(\w+)\}\}", lambda found: self.variables[found[1]], text)


def test_every_request_is_answered_as_documented(installation: Installation) -> None:
    content = json.loads(FILE.read_text(encoding="utf-8"))
    admin = create_account(installation, Role.ADMIN, "postman@test.example")
    with installation.start("serve") as server:
        eventually(installation.answers, lambda: server.text)
        postman = Postman(content, installation, admin.key)
        spec = installation.ask("GET", "/api/v1/openapi.json", key=admin.key).json
        for folder in content["item"]:
            for item in folder["item"]:
                run_item(postman, spec, item)
        user_id, record_id = (postman.variables[name] for name in ("userId", "recordId"))
        user = installation.ask("GET", f"/api/v1/users/{user_id}", key=admin.key).json
        record = installation.ask("GET", f"/api/v1/usage/{record_id}", key=admin.key).json
    assert user["email"].endswith("@kiln.example")
    assert (user["name"], user["active"]) == ("Kiln & Daughters", False)
    assert record["user_id"] == user["id"]
    assert record["reversed_by_id"] is not None


def run_item(postman: Postman, spec: dict[str, Any], item: dict[str, Any]) -> None:
    request = item["request"]
    answer = postman.send(request)
    (script,) = (one["script"]["exec"] for one in item["event"] if one["listen"] == "test")
    postman.run_script(script, answer)
    is_json = answer.headers.get_content_type().endswith("json")
    assert_as_documented(
        spec,
        method=request["method"].lower(),
        path=documented_path(request),
        status=answer.status,
        mimetype=answer.headers.get_content_type(),
        body=answer.json if is_json else None,
    )
