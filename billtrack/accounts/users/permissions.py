"""Who may do what: one pure table of roles, permissions and how far each reaches."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """The four kinds of account."""

    ADMIN = "admin"
    MANAGER = "manager"
    PROVIDER = "provider"
    CUSTOMER = "customer"


class Permission(StrEnum):
    """What can be asked of billtrack; the names are API (scopes of API keys)."""

    USAGE_RECORD = "usage:record"
    USAGE_REVERSE = "usage:reverse"
    USAGE_READ = "usage:read"
    JOURNAL_READ = "journal:read"
    JOURNAL_REPLAY = "journal:replay"
    METERS_READ = "meters:read"
    STATEMENTS_READ = "statements:read"
    REPORTS_CREATE = "reports:create"
    REPORTS_READ = "reports:read"
    PLANS_READ = "plans:read"
    SUBSCRIPTIONS_READ = "subscriptions:read"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    USERS_EXPORT = "users:export"
    USERS_ERASE = "users:erase"
    API_KEYS_READ = "api-keys:read"
    API_KEYS_WRITE = "api-keys:write"
    JOBS_READ = "jobs:read"
    JOBS_RETRY = "jobs:retry"
    QUOTE = "quote"
    PROFILE = "profile"
    SETTINGS_READ = "settings:read"
    AUDIT_READ = "audit:read"


class Breadth(StrEnum):
    """Whose things a permission covers."""

    ALL = "all"
    MANAGED = "managed"
    """Accounts that a manager looks after: customers and providers, and the manager's own."""
    RECORDED = "recorded"
    """Usage that the account itself recorded."""
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose rows a query may return to the account `user_id`.

    `scopes` are those of the API key that asks; None for a session or an access token, which may
    do all that the role of the account may.
    """

    breadth: Breadth
    user_id: int
    scopes: frozenset[str] | None = None

    def covers(self, user_id: int) -> bool:
        """Tell whether what belongs to this user is within reach: everybody's, or one's own."""
        return self.breadth is Breadth.ALL or self.user_id == user_id


_P = Permission
_EVERYBODY = {
    _P.METERS_READ: Breadth.ALL,
    _P.QUOTE: Breadth.ALL,
    _P.PROFILE: Breadth.OWN,
    _P.USERS_EXPORT: Breadth.OWN,
    _P.API_KEYS_READ: Breadth.OWN,
    _P.API_KEYS_WRITE: Breadth.OWN,
    _P.JOBS_READ: Breadth.OWN,
    _P.JOBS_RETRY: Breadth.OWN,
}
_MANAGER = _EVERYBODY | {
    _P.USAGE_RECORD: Breadth.ALL,
    _P.USAGE_REVERSE: Breadth.ALL,
    _P.USAGE_READ: Breadth.ALL,
    _P.JOURNAL_READ: Breadth.ALL,
    _P.JOURNAL_REPLAY: Breadth.ALL,
    _P.STATEMENTS_READ: Breadth.ALL,
    _P.REPORTS_CREATE: Breadth.ALL,
    _P.REPORTS_READ: Breadth.ALL,
    _P.PLANS_READ: Breadth.ALL,
    _P.SUBSCRIPTIONS_READ: Breadth.ALL,
    _P.USERS_READ: Breadth.MANAGED,
    _P.USERS_WRITE: Breadth.MANAGED,
    _P.JOBS_READ: Breadth.ALL,
    _P.JOBS_RETRY: Breadth.ALL,
}

GRANTS: dict[Role, dict[Permission, Breadth]] = {
    Role.ADMIN: dict.fromkeys(Permission, Breadth.ALL),
    Role.MANAGER: _MANAGER,
    Role.PROVIDER: _EVERYBODY
    | {
        _P.USAGE_RECORD: Breadth.ALL,
        _P.USAGE_REVERSE: Breadth.RECORDED,
        _P.USAGE_READ: Breadth.RECORDED,
        _P.JOURNAL_READ: Breadth.RECORDED,
        _P.JOURNAL_REPLAY: Breadth.RECORDED,
    },
    Role.CUSTOMER: _EVERYBODY
    | {
        _P.USAGE_READ: Breadth.OWN,
        _P.STATEMENTS_READ: Breadth.OWN,
        _P.REPORTS_CREATE: Breadth.OWN,
        _P.REPORTS_READ: Breadth.OWN,
        _P.PLANS_READ: Breadth.OWN,
        _P.SUBSCRIPTIONS_READ: Breadth.OWN,
        _P.USERS_READ: Breadth.OWN,
    },
}

READ_ONLY = frozenset(
    {
        _P.USAGE_READ,
        _P.METERS_READ,
        _P.STATEMENTS_READ,
        _P.REPORTS_READ,
        _P.PLANS_READ,
        _P.SUBSCRIPTIONS_READ,
        _P.USERS_READ,
        _P.USERS_EXPORT,
        _P.API_KEYS_READ,
        _P.JOBS_READ,
        _P.QUOTE,
    }
)
"""The only scopes that an API key of a customer can have."""

_SCOPES = {
    role: frozenset(grants) & READ_ONLY if role is Role.CUSTOMER else frozenset(grants)
    for role, grants in GRANTS.items()
}

MANAGED_ROLES = (Role.CUSTOMER, Role.PROVIDER)
"""The roles of accounts that a manager looks after."""


def granted(role: Role, permission: Permission) -> Breadth | None:
    """Return how far the permission reaches for the role, or None when it lacks it."""
    return GRANTS[role].get(permission)


def grantable_scopes(role: Role) -> frozenset[Permission]:
    """Return the scopes that an API key of this role may carry."""
    return _SCOPES[role]
