"""Change accounts. The caller owns the transaction."""

from __future__ import annotations

from datetime import datetime

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import Select, select

from billtrack.accounts.users.authority import (
    Rule,
    lock_user,
    require_name_change,
    require_sign_in_change,
)
from billtrack.accounts.users.links import end_links
from billtrack.accounts.users.models import User
from billtrack.accounts.users.passwords import HashedPassword
from billtrack.accounts.users.permissions import Reach, Role
from billtrack.accounts.users.queries import find_user_by_email, get_user
from billtrack.core.errors import ConflictError, InvalidError
from billtrack.platform import audit
from billtrack.platform.extensions import db

MAX_NAME_LENGTH = 200


class EmailTaken(ConflictError):
    """Another account has this address."""

    code = "email_taken"


class AccountErased(ConflictError):
    """The personal data of the account are gone, and no others are put in their place."""

    code = "account_erased"


class LastAdministrator(ConflictError):
    """The only active administrator cannot be removed."""

    code = "last_administrator"


def create_user(
    *,
    actor: audit.Actor,
    now: datetime,
    email: str,
    name: str,
    role: Role,
    password: HashedPassword | None = None,
) -> User:
    """Create an account; without a password it cannot sign in, but can have API keys.

    Raises InvalidError for a bad address or name and EmailTaken.
    """
    address = normalize_email(email)
    if find_user_by_email(address) is not None:
        raise EmailTaken(f"There is an account for {address} already.")
    user = User(
        email=address,
        name=checked_name(name),
        role=role,
        password_hash=password.text if password is not None else None,
        created_at=now,
    )
    db.session.add(user)
    db.session.flush()
    audit.record(
        "user.created",
        actor=actor,
        now=now,
        object_type="user",
        object_id=user.id,
        changes={"role": role},
        personal={"email": address, "name": user.name},
    )
    return user


def update_user(
    user_id: int,
    *,
    actor: audit.Actor,
    reach: Reach,
    now: datetime,
    name: str | None,
    email: str | None,
) -> User:
    """Change name or address; None leaves it.

    Raises UserNotFound, ForbiddenError, InvalidError, EmailTaken and AccountErased.
    """
    user = lock_user(user_id, reach=reach, rule=require_name_change)
    require_unerased(user)
    personal: dict[str, audit.PersonalChange] = {}
    if name is not None and name != user.name:
        personal["name"] = audit.PersonalChange(user.name, checked_name(name))
        user.name = checked_name(name)
    if email is not None and (address := normalize_email(email)) != user.email:
        require_sign_in_change(user, reach)
        if find_user_by_email(address) is not None:
            raise EmailTaken(f"There is an account for {address} already.")
        personal["email"] = audit.PersonalChange(user.email, address)
        user.email = address
        end_links(user.id, now=now)  # they lie in the mailbox of the address before
    if personal:
        audit.record(
            "user.updated",
            actor=actor,
            now=now,
            object_type="user",
            object_id=user.id,
            personal=personal,
        )
    return user


def lock_removable_user(user_id: int, *, reach: Reach, rule: Rule) -> User:
    """Return the account, locked, for a change that may leave no administrator.

    Raises UserNotFound, and ForbiddenError by the rule.
    """
    if get_user(user_id, reach=reach).role == Role.ADMIN:
        # All of them first, in one order: two that remove each other would wait for each other.
        db.session.execute(_active_administrators().with_for_update())
    return lock_user(user_id, reach=reach, rule=rule)


def normalize_email(email: str) -> str:
    """Return the address in the form that is stored; raises InvalidError."""
    try:
        checked = validate_email(email.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise InvalidError.at("email", str(error)) from error
    return checked.normalized.lower()


def checked_name(name: str) -> str:
    """Return the name without surrounding spaces; raises InvalidError when it is no name."""
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidError.at("name", f"Use 1 to {MAX_NAME_LENGTH} printable characters.")
    return name


def require_another_administrator(user: User) -> None:
    """Raise LastAdministrator unless another one is left when this account is none any more."""
    if user.role != Role.ADMIN:
        return
    # Locked: two that remove each other at once would each see the other.
    found = set(db.session.scalars(_active_administrators().with_for_update()))
    if not found - {user.id}:
        raise LastAdministrator("Create another administrator first: this is the only one.")


def require_unerased(user: User) -> None:
    """Raise AccountErased if the personal data of the account are gone."""
    if user.is_erased:
        raise AccountErased(f"{user.name} is erased, and stays as it is. Open another account.")


def _active_administrators() -> Select[int]:
    active = select(User.id).where(User.role == Role.ADMIN, User.deactivated_at.is_(None))
    return active.order_by(User.id)
