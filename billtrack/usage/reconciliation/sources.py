"""Whose records may be compared."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Row, or_, select

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Breadth, Permission, Reach, Role, granted
from billtrack.platform.extensions import db
from billtrack.usage.sources.queries import SourceNotFound

RECORDERS = [role for role in Role if granted(role, Permission.USAGE_RECORD)]


def get_source(account_id: int, *, reach: Reach) -> int:
    """Return the number of the account whose records are compared. Raises SourceNotFound."""
    is_there = db.session.scalar(select(User.id).where(User.id == account_id)) is not None
    if not is_there or not reach.covers(account_id):
        raise SourceNotFound(account_id)
    return account_id


def list_sources(*, reach: Reach) -> Sequence[Row[int, str]]:
    """Return number and name of the accounts that may record, by name."""
    query = select(User.id, User.name).where(
        or_(User.role.in_(RECORDERS), User.id == reach.user_id)
    )
    if reach.breadth is not Breadth.ALL:
        query = query.where(User.id == reach.user_id)
    return db.session.execute(query.order_by(User.name, User.id)).all()
