"""A body that is no usage record is taken in as what it is, to be kept and fixed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import request
from pydantic_core import from_json

from billtrack.api.v1.blueprint import InvalidFields
from billtrack.api.v1.bodies import read_body
from billtrack.api.v1.idempotency import HEADER
from billtrack.api.v1.terms import terms
from billtrack.usage.ingest.intake import submit
from billtrack.usage.records.submissions import Misshapen

P = ParamSpec("P")
R = TypeVar("R")


def keep_misshapen(view: Callable[P, R]) -> Callable[P, R]:
    """Keep the body of a request that is not shaped as its schema says, if it is an object.

    Stands between the permission and what reads the body.
    """

    @wraps(view)
    def watched(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return view(*args, **kwargs)
        except InvalidFields as error:
            item = _find_object()
            if item is not None:
                submit([Misshapen(_with_key(item), error)], terms=terms())
            raise

    return watched


def _find_object() -> dict[str, Any] | None:
    """Return the body if it can be kept: an object, without NaN or Infinity, which are no JSON."""
    try:
        item = from_json(read_body(request) or b"{}", allow_inf_nan=False)
    except ValueError:
        return None
    return item if isinstance(item, dict) else None


def _with_key(item: dict[str, Any]) -> dict[str, Any]:
    key = request.headers.get(HEADER)
    return item if key is None else {"idempotency_key": key, **item}
