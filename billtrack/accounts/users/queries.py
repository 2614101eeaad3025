"""Read accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, not_, or_, select, true

from billtrack.accounts.users.models import ApiKey, OneTimeLink, User
from billtrack.accounts.users.permissions import MANAGED_ROLES, Breadth, Reach, Role
from billtrack.core.errors import NotFoundError
from billtrack.platform.extensions import db

CHUNK = 500
SORTS = {"name": User.name, "email": User.email, "created_at": User.created_at, "id": User.id}


_ACTIVITY = select(User.id, User.deactivated_at).where(
    User.id.in_(bindparam("ids", expanding=True))
)


class UserNotFound(NotFoundError):
    """There is no such account, or it is not theirs to see."""

    code = "user_not_found"

    def __init__(self, user_id: int) -> None:
        super().__init__(f"There is no user {user_id} that you can see.")


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which accounts to list; None means any. `search` looks in name and e-mail.

    `invited`: only those that were invited and have no password yet.
    """

    search: str | None = None
    role: str | None = None
    active: bool | None = None
    invited: bool | None = None


def get_user(user_id: int, *, reach: Reach) -> User:
    """Return the account; raises UserNotFound when the reach does not cover it."""
    user = db.session.scalar(select(User).where(User.id == user_id, within(reach)))
    if user is None:
        raise UserNotFound(user_id)
    return user


def find_user(user_id: int) -> User | None:
    """Return the account whoever asks, for billtrack's own work."""
    return db.session.get(User, user_id)


def find_user_by_email(email: str) -> User | None:
    """Return the account with this address, whatever the case it is written in."""
    return db.session.scalar(select(User).where(User.email == email.strip().lower()))


def list_users(
    *, reach: Reach, matching: UserFilter, after_id: int = 0, limit: int = 50
) -> Sequence[User]:
    """Return up to `limit` accounts with an id above `after_id`, by id."""
    query = _matching(reach, matching).where(User.id > after_id).order_by(User.id).limit(limit)
    return db.session.scalars(query).all()


def page_users(
    *, reach: Reach, matching: UserFilter, sort: str, descending: bool, page: int, size: int
) -> tuple[Sequence[User], int]:
    """Return one page of accounts (from 1), sorted by a name in SORTS, and how many there are."""
    query = _matching(reach, matching)
    total = db.session.scalar(select(func.count()).select_from(query.subquery())) or 0
    column = SORTS[sort]
    order = column.desc() if descending else column.asc()
    rows = query.order_by(order, User.id).limit(size).offset((page - 1) * size)
    return db.session.scalars(rows).all(), total


def users_by_id(user_ids: Sequence[int]) -> dict[int, User]:
    """Return those of these accounts that exist, whoever asks."""
    found: dict[int, User] = {}
    wanted = sorted(set(user_ids))
    for start in range(0, len(wanted), CHUNK):
        query = select(User).where(User.id.in_(wanted[start : start + CHUNK]))
        found |= {user.id: user for user in db.session.scalars(query)}
    return found


def find_activity(user_ids: Sequence[int]) -> dict[int, bool]:
    """Return for those of these accounts that exist whether they are active, whoever asks."""
    found: dict[int, bool] = {}
    wanted = sorted(set(user_ids))
    for start in range(0, len(wanted), CHUNK):
        rows = db.session.execute(_ACTIVITY, {"ids": wanted[start : start + CHUNK]})
        found |= {user_id: deactivated_at is None for user_id, deactivated_at in rows}
    return found


def find_ids_by_email(emails: Sequence[str]) -> dict[str, int]:
    """Return the ids of those of these accounts that exist, by address in small letters."""
    found: dict[str, int] = {}
    for start in range(0, len(emails), CHUNK):
        wanted = User.email.in_(emails[start : start + CHUNK])
        found |= {
            row.email: row.id
            for row in db.session.execute(select(User.email, User.id).where(wanted))
        }
    return found


def list_customers() -> Sequence[User]:
    """Return every active customer, by name."""
    query = select(User).where(User.role == Role.CUSTOMER, User.deactivated_at.is_(None))
    return db.session.scalars(query.order_by(User.name, User.id)).all()


def has_administrator() -> bool:
    """Tell whether an active administrator exists."""
    query = select(User.id).where(User.role == Role.ADMIN, User.deactivated_at.is_(None)).limit(1)
    return db.session.scalar(query) is not None


def list_api_keys(*, reach: Reach, after_id: int = 0, limit: int = 50) -> Sequence[ApiKey]:
    """Return up to `limit` API keys within reach with an id above `after_id`, by id."""
    mine = true() if reach.breadth is Breadth.ALL else ApiKey.user_id == reach.user_id
    query = select(ApiKey).where(mine, ApiKey.id > after_id).order_by(ApiKey.id).limit(limit)
    return db.session.scalars(query).all()


def page_api_keys(
    *, reach: Reach, live: bool, now: datetime, page: int, size: int
) -> tuple[Sequence[tuple[ApiKey, User]], int]:
    """Return one page (from 1) of the keys that work, or of the others, and how many there are.

    With their accounts, the newest first. A key of a deactivated account does not work.
    """
    works = and_(
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
        User.deactivated_at.is_(None),
    )
    mine = true() if reach.breadth is Breadth.ALL else ApiKey.user_id == reach.user_id
    query = select(ApiKey, User).join(User, User.id == ApiKey.user_id)
    query = query.where(mine, works if live else not_(works))
    total = db.session.scalar(select(func.count()).select_from(query.subquery())) or 0
    rows = query.order_by(ApiKey.id.desc()).limit(size).offset((page - 1) * size)
    return [(key, user) for key, user in db.session.execute(rows)], total


def _matching(reach: Reach, matching: UserFilter) -> Select[User]:
    query = select(User).where(within(reach))
    if matching.search:
        pattern = f"%{_literal(matching.search.lower())}%"
        found = or_(
            func.lower(User.name).like(pattern, escape="\\"),
            User.email.like(pattern, escape="\\"),
        )
        query = query.where(found)
    if matching.role:
        query = query.where(User.role == matching.role)
    if matching.active is not None:
        is_active = User.deactivated_at.is_(None)
        query = query.where(is_active if matching.active else ~is_active)
    if matching.invited is not None:
        has_link = User.id.in_(select(OneTimeLink.user_id))
        is_invited = User.password_hash.is_(None) & has_link
        query = query.where(is_invited if matching.invited else ~is_invited)
    return query


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def within(reach: Reach) -> ColumnElement[bool]:
    """Return the condition that the reach covers the account."""
    if reach.breadth is Breadth.ALL:
        return true()
    own = User.id == reach.user_id
    if reach.breadth is Breadth.MANAGED:
        return or_(own, User.role.in_(MANAGED_ROLES))
    return and_(own)
