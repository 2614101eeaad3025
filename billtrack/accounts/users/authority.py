"""Authority over accounts: the reach of the caller and the scopes of its API key.

Every change to an account begins with `lock_user`, which judges the locked row: a promotion that
commits while the caller waits for the lock is seen. A rule says which API keys may make the
change. Sessions and access tokens are limited by their role alone.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import (
    MANAGED_ROLES,
    Breadth,
    Reach,
    Role,
    grantable_scopes,
)
from billtrack.accounts.users.queries import UserNotFound, within
from billtrack.core.errors import ForbiddenError
from billtrack.platform.extensions import db

Rule = Callable[[User, Reach], None]
"""A check of one kind of change: raises ForbiddenError unless the API key of the reach may."""


def lock_user(user_id: int, *, reach: Reach, rule: Rule) -> User:
    """Return the account, locked until the transaction ends.

    Raises UserNotFound when the reach does not cover it, and ForbiddenError by the rule.
    """
    # PostgreSQL evaluates the reach again on the row that it locks; SQLite has no other writer.
    query = select(User).where(User.id == user_id, within(reach)).with_for_update()
    user = db.session.scalar(query, execution_options={"populate_existing": True})
    if user is None:
        raise UserNotFound(user_id)
    rule(user, reach)
    return user


def require_manageable(role: Role, *, reach: Reach) -> None:
    """Raise ForbiddenError unless the reach covers making accounts of this role, or changing it."""
    if reach.breadth is Breadth.MANAGED and role not in MANAGED_ROLES:
        raise ForbiddenError("Managers make and change accounts of customers and providers only.")


def require_creation(role: Role, *, reach: Reach, with_password: bool) -> None:
    """Raise ForbiddenError unless an account of this role may be created, with a password or not.

    An API key never sets the password of an account that may do more than a customer.
    """
    require_manageable(role, reach=reach)
    _require_scopes_of(role, reach)
    if reach.scopes is not None and role is not Role.CUSTOMER and with_password:
        raise ForbiddenError(
            f"An API key sets the password of customers only. Invite the {role} instead."
        )


def require_name_change(user: User, reach: Reach) -> None:
    """Raise ForbiddenError for an API key that lacks a scope which keys of the account may carry.

    Every key may rename customers.
    """
    _require_scopes_of(Role(user.role), reach)


def require_sign_in_change(user: User, reach: Reach) -> None:
    """Raise ForbiddenError for an API key unless the account is a customer.

    Covers e-mail, password, second factor and state.
    """
    if reach.scopes is not None and user.role != Role.CUSTOMER:
        raise ForbiddenError(
            "An API key changes e-mail, password and state of customers only, and this account "
            f"has the role {user.role}. Sign in to change it."
        )


def require_role_change(_user: User, reach: Reach) -> None:
    """Raise ForbiddenError for every API key: none changes a role."""
    if reach.scopes is not None:
        raise ForbiddenError("An API key cannot change the role of an account. Sign in to do it.")


def require_key_change(user: User, reach: Reach) -> None:
    """Raise ForbiddenError for an API key of another account as for a change of name."""
    if user.id != reach.user_id:
        _require_scopes_of(Role(user.role), reach)


def _require_scopes_of(role: Role, reach: Reach) -> None:
    if reach.scopes is None or role is Role.CUSTOMER:
        return
    if missing := sorted(grantable_scopes(role) - reach.scopes):
        raise ForbiddenError(
            f"This API key cannot create or change accounts of the role {role}, which may do more "
            f"than the key. It lacks the scopes {', '.join(missing)}."
        )
