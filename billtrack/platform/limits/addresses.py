"""Whoever sends nothing that lets them in is counted by address."""

from __future__ import annotations

from billtrack.core.addresses import network_of
from billtrack.platform.http import client_address
from billtrack.platform.limits.budgets import Budget
from billtrack.platform.limits.requests import charge, is_refusing, is_spent, refusal


def is_shut_out(address: str | None) -> bool:
    """Tell whether the address has used up what it may without a credential that holds."""
    return is_anybody_shut_out() and is_spent(Budget.ADDRESS, network_of(address))


def is_anybody_shut_out() -> bool:
    """Tell whether any address is shut out at this moment."""
    return is_refusing(Budget.ADDRESS)


def require_welcome(address: str | None, *, known: bool) -> None:
    """Refuse what an address that is shut out sends, before the database is asked.

    A known credential, one that has let somebody in, is looked up all the same. Raises
    RateLimited.
    """
    if not known and is_shut_out(address):
        raise refusal(Budget.ADDRESS, network_of(address))


def charge_address() -> None:
    """Count a request that brings no credential that holds; raises RateLimited."""
    charge(Budget.ADDRESS, network_of(client_address()))
