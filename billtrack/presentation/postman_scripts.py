"""JavaScript of the Postman collection: requests without their ids are skipped, answers kept."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

from billtrack.presentation.postman_run import (
    FORGETS,
    GIVES,
    READY,
    RUN_VARIABLES,
    SET_UP,
    START,
    TAKES_BACK,
    TRIES,
)

ACCOUNT = "runUserId"
MOST_TRIES = 240
PAUSE_MS = 500

_RUN = "const run = pm.collectionVariables;"
_FORGET = f'{json.dumps(RUN_VARIABLES)}.forEach((name) => run.set(name, ""));'


def before(operation_id: str, needs: Collection[str]) -> list[str]:
    """Return the script before a request: skip it while a variable that it needs is empty."""
    if operation_id == SET_UP:
        return [_RUN, *_start()]
    return [_RUN, *_skip(operation_id, needs)] if needs else []


def after(operation_id: str, statuses: Sequence[int], *, taken_back: str) -> list[str]:
    """Return the script after an answer: check its status, keep or clear variables, try again.

    `taken_back` is the variable of what a request of the clean-up takes back, or empty.
    """
    expected = ", ".join(map(str, statuses))
    check = f"() => pm.expect(pm.response.code).to.be.oneOf([{expected}])"
    lines = list(_take_over(operation_id, taken_back))
    if any("answer." in line for line in lines):
        lines.insert(0, "const answer = pm.response.json();")
    return [f'pm.test("answers {expected}", {check});', *([_RUN] if lines else []), *lines]


def _take_over(operation_id: str, taken_back: str) -> Iterator[str]:
    for variable, value in GIVES.get(operation_id, {}).items():
        yield f'run.set("{variable}", {value} || run.get("{variable}"));'
    if operation_id in READY:
        yield from _try_again(READY[operation_id])
    if taken_back and taken_back != ACCOUNT:
        yield f'if (pm.response.code < 300) run.set("{taken_back}", "");'
    if operation_id in FORGETS:
        yield f"if ({FORGETS[operation_id]}) {_FORGET}"


def _skip(operation_id: str, needs: Collection[str]) -> Iterator[str]:
    yield 'const isHere = run.get("runAt") === pm.variables.get("baseUrl");'
    yield f"const isKnown = {json.dumps(sorted(needs))}.every((name) => run.get(name));"
    yield "if (!isHere || !isKnown) pm.execution.skipRequest();"
    if operation_id == "erase_user":
        # An erasure forgets the run, so everything else is taken back before.
        left = [name for names in TAKES_BACK.values() for name in names if name != ACCOUNT]
        yield f"const isLeft = {json.dumps(left)}.some((name) => run.get(name));"
        yield "if (isLeft) pm.execution.skipRequest();"


def _start() -> Iterator[str]:
    yield 'const isNew = run.get("runAt") !== pm.variables.get("baseUrl");'
    yield f"if (isNew) {_FORGET}"
    for variable, value in START.items():
        yield f'if (isNew) run.set("{variable}", {value});'


def _try_again(condition: str) -> Iterator[str]:
    yield f"const isReady = {condition};"
    yield f'const tries = Number(run.get("{TRIES}")) + 1;'
    yield f"const isAgain = !isReady && tries < {MOST_TRIES};"
    yield f'run.set("{TRIES}", isAgain ? tries : "");'
    yield (
        "if (isAgain) "
        f"setTimeout(() => pm.execution.setNextRequest(pm.info.requestId), {PAUSE_MS});"
    )
    yield (
        f'pm.test("is ready within {MOST_TRIES * PAUSE_MS // 1000} seconds", '
        "() => pm.expect(isReady || isAgain).to.be.true);"
    )
