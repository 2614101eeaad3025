"""Whatever is sent by whomever, the API answers as its OpenAPI document says.

Schemathesis makes the requests from the document: such as fit it, and such as do not.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import schemathesis
from apiflask import APIFlask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi import checks

from billtrack.accounts.credentials.api_keys import create_api_key
from billtrack.accounts.users.permissions import Role
from billtrack.api.v1.openapi import document
from billtrack.platform.db import transaction
from billtrack.presentation.api_reference import body_example, body_schema
from tests.cast import SYSTEM, Cast, Member, create_record, create_user
from tests.effort import times

EXAMPLES = 6
"""How many requests each role sends to an operation, with an effort of 1."""

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
BRIEF = settings(
    max_examples=times(EXAMPLES),
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
THINGS = 7
"""So many accounts and keys there are at least: ids up to it lead to something."""


def test_it_answers_every_role_as_documented(app: APIFlask, cast: Cast) -> None:
    create_record(cast)
    spec = json.loads(app.json.dumps(document()))
    schema = schemathesis.openapi.from_dict(spec)
    schema.app = app
    answers: Counter[tuple[str, int]] = Counter()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        try_out(found.ok(), spec=spec, answers=answers)
    assert {status for _, status in answers} >= {200, 201, 202, 403, 404, 422}


def try_out(
    operation: APIOperation[Any, Any, Any, Any],
    *,
    spec: dict[str, Any],
    answers: Counter[tuple[str, int]],
) -> None:
    """Send requests to the operation as each role, check the answers, and count them."""
    members = [create_member(role) for role in Role]
    requests = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))
    example = body_example(spec, body_schema(spec, operation.definition.raw))

    @BRIEF
    @given(requests, st.none() | st.integers(0, THINGS))
    def run(case: Case[Any], number: int | None) -> None:
        for member in members:
            if number is not None:
                aim(case, number or member.id, example)
            answer = case.call(headers=member.headers({}))
            case.validate_response(answer, checks=CHECKS)
            answers[member.user.role, answer.status_code] += 1

    run()


def aim(case: Case[Any], number: int, example: Any) -> None:
    """Let the request be about what there is: chance alone hits nothing."""
    for name in case.path_parameters:
        case.path_parameters[name] = "standard" if name == "code" else number
    if isinstance(case.body, dict):
        case.body = {**example, **({"user_id": number} if "user_id" in example else {})}


def create_member(role: Role) -> Member:
    """Create an account that no request before has shut out, with a key not yet revoked."""
    user = create_user(role=role, email=f"{secrets.token_hex(8)}@test.example")
    with transaction():
        _, secret = create_api_key(user, actor=SYSTEM, now=datetime.now(UTC), name="key")
    return Member(user, secret)
