"""`Idempotency-Key` of creating requests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import request

from billtrack.accounts import access
from billtrack.core.errors import InvalidError
from billtrack.platform import idempotency
from billtrack.platform.db import transaction
from billtrack.platform.idempotency import Answer, Command, run_once

HEADER = "Idempotency-Key"
MAX_LENGTH = 255


def read_key() -> str | None:
    """Return the key of the header, if any; raises InvalidError for one that is no key."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_LENGTH or not key.isprintable():
        raise InvalidError.at(HEADER, f"Use 1 to {MAX_LENGTH} printable characters.")
    return key


def is_repeated(*, now: datetime) -> bool:
    """Tell whether the key of the request was used before, so that it will create nothing."""
    return idempotency.is_repeated(_command(None), now=now)


def create_once(
    asked: Any,
    *,
    now: datetime,
    create: Callable[[], Answer],
    remembered: Callable[[Answer], Answer] = lambda answer: answer,
) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Run a creating request in its transaction, once for the same key within 24 hours."""
    with transaction():
        answer = run_once(_command(asked), now=now, action=create, remembered=remembered)
    headers = {"Location": answer.location} if answer.location else {}
    return answer.body, answer.status, headers


def _command(asked: Any) -> Command:
    return Command(
        account_id=access.principal().user_id,
        name=f"{request.method} {request.path.rstrip('/')}",
        key=read_key(),
        request=asked,
    )
