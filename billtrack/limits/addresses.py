"""Whoever sends nothing that lets them in is counted by address."""

from __future__ import annotations

from billtrack.core.addresses import network_of
from billtrack.http import client_address
from billtrack.limits.budgets import Budget
from billtrack.limits.requests import charge, is_spent, known, refusal


def is_shut_out(address: str | None) -> bool:
    """Tell whether the address has used up what it may without a credential that holds."""
    return is_spent(Budget.ADDRESS, network_of(address))


def require_welcome(credential: str | None, address: str | None) -> None:
    """Refuse what an address that is shut out sends, before the database is asked.

    A credential that has let somebody in before is looked up all the same. Raises RateLimited.
    """
    if is_shut_out(address) and (credential is None or credential not in known()):
        raise refusal(Budget.ADDRESS, network_of(address))


def charge_address() -> None:
    """Count a request that brings no credential that holds; raises RateLimited."""
    charge(Budget.ADDRESS, network_of(client_address()))
