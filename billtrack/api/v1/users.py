"""/users: accounts, and /me: one's own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from billtrack import access
from billtrack.accounts import operations, queries
from billtrack.accounts.commands import Answer
from billtrack.accounts.models import User
from billtrack.accounts.permissions import Breadth, Permission, Reach, Role
from billtrack.accounts.queries import UserFilter
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.idempotency import create_once
from billtrack.api.v1.schemas import (
    Body,
    Cursor,
    Limit,
    PlainText,
    Query,
    from_cursor,
    page,
)
from billtrack.customers.operations import open_account
from billtrack.db import transaction
from billtrack.extensions import current_calendar

Email = Annotated[PlainText, Field(min_length=3, max_length=254, examples=["ops@kiln.example"])]
Name = Annotated[PlainText, Field(min_length=1, max_length=200, examples=["Kiln Ceramics"])]


class NewUser(Body):
    """An account to open. Without a password it cannot sign in, but can have API keys."""

    email: Email
    name: Name
    role: Literal["admin", "manager", "provider", "customer"] = "customer"
    password: Annotated[str, Field(min_length=12, max_length=256)] | None = None


class UserChange(Body):
    """What to change; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Kiln & Daughters"}]})

    email: Email | None = None
    name: Name | None = None


class UserOut(BaseModel):
    """An account."""

    id: int
    email: str
    name: str
    role: str
    active: bool
    created_at: datetime
    deactivated_at: datetime | None


class UserList(BaseModel):
    """Accounts, by id."""

    data: list[UserOut]
    next_cursor: str | None


class UserQuery(Query):
    """Which accounts to list."""

    role: Literal["admin", "manager", "provider", "customer"] | None = None
    active: bool | None = None
    search: Annotated[PlainText, Field(max_length=100)] | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@api.get("/users")
@access.require(Permission.USERS_READ)
@api.input(UserQuery, location="query")
@api.output(UserList)
def list_users(query_data: UserQuery) -> tuple[dict[str, Any], int, dict[str, str]]:
    """List accounts, by id."""
    users = queries.list_users(
        reach=access.reach(Permission.USERS_READ),
        matching=UserFilter(query_data.search, query_data.role, query_data.active),
        after_id=from_cursor(query_data.cursor) or 0,
        limit=query_data.limit + 1,
    )
    return page([user_json(user) for user in users], limit=query_data.limit)


@api.post("/users")
@access.require(Permission.USERS_WRITE)
@api.input(NewUser)
@api.output(UserOut, 201)
@api.doc(responses={409: "The address is taken, or the key was used for something else"})
def create_user(json_data: NewUser) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Open an account; a customer starts on the standard plan from the 1st of the month."""
    now = datetime.now(UTC)
    role = Role(json_data.role)
    operations.require_manageable(role, reach=access.reach(Permission.USERS_WRITE))

    def create() -> Answer:
        user = open_account(
            actor=access.actor(),
            now=now,
            calendar=current_calendar(),
            email=json_data.email,
            name=json_data.name,
            role=role,
            password=json_data.password,
        )
        return Answer(201, user_json(user), f"/api/v1/users/{user.id}")

    return create_once(json_data.model_dump(mode="json"), now=now, create=create)


@api.get("/users/<id:user_id>")
@access.require(Permission.USERS_READ)
@api.output(UserOut)
def show_user(user_id: int) -> dict[str, Any]:
    """Show one account."""
    return user_json(queries.get_user(user_id, reach=access.reach(Permission.USERS_READ)))


@api.patch("/users/<id:user_id>")
@access.require(Permission.USERS_WRITE)
@api.input(UserChange)
@api.output(UserOut)
@api.doc(responses={409: "The address is taken"})
def change_user(user_id: int, json_data: UserChange) -> dict[str, Any]:
    """Change the name or the address of an account."""
    with transaction():
        user = operations.update_user(
            user_id,
            actor=access.actor(),
            reach=access.reach(Permission.USERS_WRITE),
            now=datetime.now(UTC),
            name=json_data.name,
            email=json_data.email,
        )
    return user_json(user)


@api.post("/users/<id:user_id>/deactivate")
@access.require(Permission.USERS_WRITE)
@api.output(UserOut)
@api.doc(responses={409: "It is the only administrator"})
def deactivate_user(user_id: int) -> dict[str, Any]:
    """Shut an account out; its usage and bills stay. Again changes nothing."""
    with transaction():
        user = operations.deactivate_user(
            user_id,
            actor=access.actor(),
            reach=access.reach(Permission.USERS_WRITE),
            now=datetime.now(UTC),
        )
    return user_json(user)


@api.get("/me")
@access.require(Permission.PROFILE)
@api.output(UserOut)
def show_me() -> dict[str, Any]:
    """Show the account that asks."""
    user_id = access.principal().user_id
    return user_json(queries.get_user(user_id, reach=Reach(Breadth.OWN, user_id)))


def user_json(user: User) -> dict[str, Any]:
    """Return the account as the API shows it."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "active": user.is_active,
        "created_at": user.created_at.isoformat(),
        "deactivated_at": user.deactivated_at.isoformat() if user.deactivated_at else None,
    }
