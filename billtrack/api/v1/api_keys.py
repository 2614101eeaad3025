"""/api-keys: credentials of integrations."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from billtrack.accounts import access
from billtrack.accounts.credentials import api_keys, key_rotation
from billtrack.accounts.credentials.key_rotation import DEFAULT_GRACE, MAX_GRACE
from billtrack.accounts.users import queries
from billtrack.accounts.users.authority import lock_user, require_key_change
from billtrack.accounts.users.models import ApiKey
from billtrack.accounts.users.permissions import Permission
from billtrack.accounts.users.queries import UserNotFound
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.idempotency import create_once
from billtrack.api.v1.schemas import Body, Cursor, Limit, Query, from_cursor, page
from billtrack.core.errors import InvalidError
from billtrack.platform.db import transaction
from billtrack.platform.idempotency import Answer
from billtrack.usage.ingest.fields import Id, Instant, PlainText

_MORE_THAN_THE_KEY = "The permission is lacking, or the account may do more than the API key"


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


class NewApiKey(Body):
    """A key to make; for another account only by an administrator."""

    name: Annotated[PlainText, Field(min_length=1, max_length=100, examples=["Gateway in Oslo"])]
    user_id: Id | None = None
    scopes: list[Annotated[str, Field(max_length=64)]] | None = Field(None, max_length=64)
    expires_at: Instant | None = None


class KeyRotation(Body):
    """How many seconds the old key works on beside its successor; 0 ends it at once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"grace_seconds": 3600}]})

    grace_seconds: Annotated[int, Field(ge=0, le=_seconds(MAX_GRACE))] = _seconds(DEFAULT_GRACE)


class ApiKeyOut(BaseModel):
    """A key; its secret text is in `key` once, when it is made.

    `rotated_at`: since then it has a successor, which names it in `replaces_id`.
    """

    id: int
    user_id: int
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None
    rotated_at: datetime | None
    replaces_id: int | None
    key: str | None = None


class ApiKeyList(BaseModel):
    """Keys, by id."""

    data: list[ApiKeyOut]
    next_cursor: str | None


class ApiKeyQuery(Query):
    """Which keys to list."""

    limit: Limit = 50
    cursor: Cursor | None = None


@api.get("/api-keys")
@access.require(Permission.API_KEYS_READ)
@api.input(ApiKeyQuery, location="query")
@api.output(ApiKeyList)
def list_api_keys(query_data: ApiKeyQuery) -> tuple[dict[str, Any], int, dict[str, str]]:
    """List keys, never their secret text."""
    keys = queries.list_api_keys(
        reach=access.reach(Permission.API_KEYS_READ),
        after_id=from_cursor(query_data.cursor) or 0,
        limit=query_data.limit + 1,
    )
    return page([_key_json(key) for key in keys], limit=query_data.limit)


@api.post("/api-keys")
@access.require(Permission.API_KEYS_WRITE)
@api.input(NewApiKey)
@api.output(ApiKeyOut, 201)
@api.doc(responses={403: _MORE_THAN_THE_KEY})
def create_api_key(json_data: NewApiKey) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Make a key. `key` is shown this once; a repeated request answers without it."""
    now = datetime.now(UTC)
    reach = access.reach(Permission.API_KEYS_WRITE)
    user_id = json_data.user_id or reach.user_id

    def create() -> Answer:
        try:
            owner = lock_user(user_id, reach=reach, rule=require_key_change)
        except UserNotFound as error:
            raise InvalidError.at("user_id", error.detail) from error
        key, secret = api_keys.create_api_key(
            owner,
            actor=access.actor(),
            now=now,
            name=json_data.name,
            scopes=json_data.scopes,
            within=reach.scopes,
            expires_at=json_data.expires_at,
        )
        return Answer(201, {**_key_json(key), "key": secret})

    return create_once(
        json_data.model_dump(mode="json"), now=now, create=create, remembered=_without_secret
    )


@api.post("/api-keys/<id:key_id>/rotate")
@access.require(Permission.API_KEYS_WRITE)
@api.input(KeyRotation)
@api.output(ApiKeyOut, 201)
@api.doc(
    responses={
        403: f"{_MORE_THAN_THE_KEY}, or the key that is rotated may",
        409: "The key has ended or has a successor, or the key was used otherwise",
    }
)
def rotate_api_key(
    key_id: int, json_data: KeyRotation
) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Make a successor of a key. `key` is shown this once; the old key works for a while more."""
    now = datetime.now(UTC)

    def create() -> Answer:
        successor, secret = key_rotation.rotate_api_key(
            key_id,
            actor=access.actor(),
            reach=access.reach(Permission.API_KEYS_WRITE),
            now=now,
            grace=timedelta(seconds=json_data.grace_seconds),
        )
        return Answer(201, {**_key_json(successor), "key": secret})

    return create_once(
        json_data.model_dump(mode="json"), now=now, create=create, remembered=_without_secret
    )


@api.post("/api-keys/<id:key_id>/revoke")
@access.require(Permission.API_KEYS_WRITE)
@api.output(ApiKeyOut)
@api.doc(responses={403: _MORE_THAN_THE_KEY})
def revoke_api_key(key_id: int) -> dict[str, Any]:
    """Make a key useless at once. Again changes nothing."""
    with transaction():
        key = api_keys.revoke_api_key(
            key_id,
            actor=access.actor(),
            reach=access.reach(Permission.API_KEYS_WRITE),
            now=datetime.now(UTC),
        )
    return _key_json(key)


def _without_secret(answer: Answer) -> Answer:
    return replace(answer, body={**answer.body, "key": None})


def _key_json(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "user_id": key.user_id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "used_at": key.used_at.isoformat() if key.used_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
        "rotated_at": key.rotated_at.isoformat() if key.rotated_at else None,
        "replaces_id": key.replaces_id,
    }
