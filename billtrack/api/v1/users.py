"""/users: accounts, and /me: one's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from billtrack.accounts import access, lifecycle, login_attempts
from billtrack.accounts.sign_in import password_recovery
from billtrack.accounts.sign_in.password_changes import hash_first_password
from billtrack.accounts.sign_in.throttle import NewPassword
from billtrack.accounts.users import operations, queries
from billtrack.accounts.users.authority import require_creation
from billtrack.accounts.users.models import OneTimeLink, User
from billtrack.accounts.users.passwords import HashedPassword
from billtrack.accounts.users.permissions import Breadth, Permission, Reach, Role
from billtrack.accounts.users.queries import UserFilter
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.idempotency import create_once, is_repeated
from billtrack.api.v1.schemas import Body, Cursor, Limit, Query, from_cursor, page
from billtrack.billing.customers import change_role, invite_account, open_account
from billtrack.core.errors import UnavailableError
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar
from billtrack.platform.idempotency import Answer
from billtrack.usage.ingest.fields import PlainText

Email = Annotated[PlainText, Field(min_length=3, max_length=254, examples=["ops@kiln.example"])]
Name = Annotated[PlainText, Field(min_length=1, max_length=200, examples=["Kiln Ceramics"])]
Password = Annotated[
    str, Field(min_length=12, max_length=256, description="With an API key for customers only.")
]

_CUSTOMERS_ONLY = "The permission is lacking. An API key does this to customers only"
_NAMES_AND_CUSTOMERS = (
    "The permission is lacking. An API key changes the e-mail of customers only, the name of "
    "accounts that may do no more than the key, and no role"
)
_NOT_TO_BE_INVITED = "It has a password, is deactivated, or was sent enough links"
_NOT_TO_BE_RESET = "It has no password, is deactivated, or was sent enough links"
_TAKEN_OR_LAST = "The address is taken, or it is the only administrator"


class NewUser(Body):
    """An account to open. Without a password it cannot sign in, but can have API keys."""

    email: Email
    name: Name
    role: Literal["admin", "manager", "provider", "customer"] = "customer"
    password: Password | None = None
    invite: Annotated[
        bool, Field(description="Send a letter with a link to choose a password.")
    ] = False

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.invite and self.password is not None:
            raise ValueError("Send either a password, or invite.")
        return self


class UserChange(Body):
    """What to change; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Kiln & Daughters"}]})

    email: Email | None = None
    name: Name | None = None
    role: Annotated[
        Literal["admin", "manager", "provider", "customer"] | None,
        Field(
            description="Ends the sessions of the account and revokes its API keys. "
            "Not changed with an API key."
        ),
    ] = None


class UserOut(BaseModel):
    """An account."""

    id: int
    email: str
    name: str
    role: str
    active: bool
    has_password: bool
    created_at: datetime
    deactivated_at: datetime | None
    erased_at: datetime | None


class UserList(BaseModel):
    """Accounts, by id."""

    data: list[UserOut]
    next_cursor: str | None


class LinkSent(BaseModel):
    """A letter with a one-time link is on its way."""

    user_id: int
    email: str
    expires_at: datetime


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
@api.doc(
    responses={
        403: "The permission is lacking, or accounts of the role may do more than the API key",
        409: "The address is taken, or the key was used for something else",
    }
)
def create_user(json_data: NewUser) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Open an account; a customer starts on the standard plan from the 1st of the month.

    With `invite` a letter goes to its address, with a link to choose a password.
    """
    now = datetime.now(UTC)
    role = Role(json_data.role)
    reach = access.reach(Permission.USERS_WRITE)
    password = None if is_repeated(now=now) else _hash_password(json_data)

    def create() -> Answer:
        with_password = json_data.password is not None
        if with_password and password is None:
            raise UnavailableError("The key has just expired. Send the request again.")
        require_creation(role, reach=reach, with_password=with_password)
        user = _open_account(json_data, role, password, now)
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
@api.doc(responses={403: _NAMES_AND_CUSTOMERS, 409: _TAKEN_OR_LAST})
def change_user(user_id: int, json_data: UserChange) -> dict[str, Any]:
    """Change the name, the address or the role of an account; all of it or nothing."""
    by: dict[str, Any] = {
        "actor": access.actor(),
        "reach": access.reach(Permission.USERS_WRITE),
        "now": datetime.now(UTC),
    }
    with transaction():
        user = operations.update_user(user_id, name=json_data.name, email=json_data.email, **by)
        if json_data.role is not None:
            change_role(user_id, role=Role(json_data.role), calendar=current_calendar(), **by)
    return user_json(user)


@api.post("/users/<id:user_id>/deactivate")
@access.require(Permission.USERS_WRITE)
@api.output(UserOut)
@api.doc(responses={403: _CUSTOMERS_ONLY, 409: "It is the only administrator"})
def deactivate_user(user_id: int) -> dict[str, Any]:
    """Shut an account out; its usage and bills stay. Again changes nothing."""
    return _change_state(user_id, lifecycle.deactivate_user)


@api.post("/users/<id:user_id>/reactivate")
@access.require(Permission.USERS_WRITE)
@api.output(UserOut)
@api.doc(responses={403: _CUSTOMERS_ONLY, 409: "The account is erased"})
def reactivate_user(user_id: int) -> dict[str, Any]:
    """Let an account in again, by its password and its API keys. Again changes nothing."""
    return _change_state(user_id, lifecycle.reactivate_user)


@api.post("/users/<id:user_id>/invite")
@access.require(Permission.USERS_WRITE)
@api.output(LinkSent, 202)
@api.doc(responses={403: _CUSTOMERS_ONLY, 409: _NOT_TO_BE_INVITED})
def invite_user(user_id: int) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Send a link to choose the first password, valid for 7 days; earlier ones end."""
    return _send(user_id, password_recovery.invite)


@api.post("/users/<id:user_id>/password-reset")
@access.require(Permission.USERS_WRITE)
@api.output(LinkSent, 202)
@api.doc(responses={403: _CUSTOMERS_ONLY, 409: _NOT_TO_BE_RESET})
def reset_password(user_id: int) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Send a link to choose another password, valid for 1 hour; the present one works until then.

    Nobody but who reads the letter learns the link.
    """
    return _send(user_id, password_recovery.send_reset)


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
        "has_password": user.password_hash is not None,
        "created_at": user.created_at.isoformat(),
        "deactivated_at": user.deactivated_at.isoformat() if user.deactivated_at else None,
        "erased_at": user.erased_at.isoformat() if user.erased_at else None,
    }


def _hash_password(asked: NewUser) -> HashedPassword | None:
    if asked.password is None:
        return None
    login_attempts.count_password(NewPassword.NEW_ACCOUNT, account_id=access.principal().user_id)
    return hash_first_password(asked.password, email=asked.email, name=asked.name)


def _open_account(
    asked: NewUser, role: Role, password: HashedPassword | None, now: datetime
) -> User:
    account: dict[str, Any] = {
        "actor": access.actor(),
        "now": now,
        "calendar": current_calendar(),
        "email": asked.email,
        "name": asked.name,
        "role": role,
    }
    if asked.invite:
        return invite_account(**account)
    return open_account(**account, password=password)


def _change_state(user_id: int, change: Callable[..., User]) -> dict[str, Any]:
    actor, reach = access.actor(), access.reach(Permission.USERS_WRITE)
    with transaction():
        user = change(user_id, actor=actor, reach=reach, now=datetime.now(UTC))
    return user_json(user)


def _send(
    user_id: int, send: Callable[..., OneTimeLink]
) -> tuple[dict[str, Any], int, dict[str, str]]:
    now, reach = datetime.now(UTC), access.reach(Permission.USERS_WRITE)

    def create() -> Answer:
        link = send(user_id, actor=access.actor(), reach=reach, now=now)
        email = queries.get_user(user_id, reach=reach).email
        until = link.expires_at.isoformat()
        return Answer(202, {"user_id": user_id, "email": email, "expires_at": until})

    return create_once({}, now=now, create=create)
