"""The account that asks, with what its credential allows."""

from __future__ import annotations

from dataclasses import dataclass

from billtrack.accounts.users.permissions import Permission, Reach, Role, grantable_scopes, granted
from billtrack.core.errors import ForbiddenError
from billtrack.platform.limits import Budget


@dataclass(frozen=True, slots=True)
class Principal:
    """The account that asks, and by which credential."""

    user_id: int
    role: Role
    name: str
    email: str
    scopes: frozenset[str] | None = None
    api_key_id: int | None = None
    session_id: int | None = None
    token_family_id: int | None = None

    def reach(self, permission: Permission) -> Reach:
        """Return how far the permission goes; raises ForbiddenError when it is lacking."""
        breadth = granted(self.role, permission)
        if breadth is None:
            raise ForbiddenError(f"The role {self.role} has no permission {permission}.")
        if not self._is_in_scope(permission):
            raise ForbiddenError(f"This API key has no scope {permission}.")
        return Reach(breadth, self.user_id, self._live_scopes)

    def payer(self, budget: Budget) -> str:
        """Name who spends from the budget: each API key by itself, for reports the account."""
        if self.api_key_id is None or budget is Budget.REPORTS:
            return f"user:{self.user_id}"
        return f"key:{self.api_key_id}"

    def may(self, permission: Permission) -> bool:
        """Tell whether to offer what needs the permission."""
        return self._is_in_scope(permission) and granted(self.role, permission) is not None

    def _is_in_scope(self, permission: Permission) -> bool:
        scopes = self._live_scopes
        return scopes is None or permission in scopes

    @property
    def _live_scopes(self) -> frozenset[str] | None:
        # The key may be older than the role: what a key of this role cannot have is gone.
        return None if self.scopes is None else self.scopes & grantable_scopes(self.role)
