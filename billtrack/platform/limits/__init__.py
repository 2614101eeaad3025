"""How often who may ask: rate limits for requests, usage records and reports.

Owns the budgets and what is left in them, in Redis where there is one and in the memory of
each process otherwise. Knows nothing of accounts: whoever spends says from whose budget.
Tries of passwords are not counted here but in the database, see `accounts.sign_in.throttle`.
"""

from billtrack.platform.limits.addresses import (
    charge_address,
    is_anybody_shut_out,
    is_shut_out,
    require_welcome,
)
from billtrack.platform.limits.budgets import Budget
from billtrack.platform.limits.requests import (
    RateLimited,
    charge,
    give_back,
    headers,
    init_app,
    known,
    spend,
    spend_at_once,
)

__all__ = [
    "Budget",
    "RateLimited",
    "charge",
    "charge_address",
    "give_back",
    "headers",
    "init_app",
    "is_anybody_shut_out",
    "is_shut_out",
    "known",
    "require_welcome",
    "spend",
    "spend_at_once",
]
