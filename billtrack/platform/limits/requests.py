"""The limiter of the running app, and what answers say of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flask import Flask, Response, current_app, g

from billtrack.core.errors import TooManyRequestsError
from billtrack.platform.config import Settings
from billtrack.platform.extensions import installation_mark
from billtrack.platform.limits.buckets import per_second
from billtrack.platform.limits.budgets import THINGS, Budget, budget_rates
from billtrack.platform.limits.known import KnownCredentials
from billtrack.platform.limits.limiter import Limiter
from billtrack.platform.limits.redis_buckets import RedisBuckets

LIMITER = "billtrack.platform.limits"
KNOWN = "billtrack.known_credentials"


class RateLimited(TooManyRequestsError):
    """A budget is spent; it fills again by itself."""

    code = "rate_limited"


def init_app(app: Flask, settings: Settings) -> None:
    """Give the app its limiter, in Redis where there is one; answers tell what is left."""
    shared = None
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        shared = RedisBuckets(url, prefix=f"billtrack.{installation_mark(settings)}.limits")
    app.extensions[LIMITER] = Limiter(budget_rates(settings), shared=shared)
    app.extensions[KNOWN] = KnownCredentials()
    app.after_request(_tell)


def spend(budget: Budget, subject: str, cost: int = 1) -> bool:
    """Take the cost from the budget of the subject; False where too little is left of it.

    Needs an app context, no request. Never raises, and waits for Redis 0.3 seconds at most.
    """
    return _limiter().spend(budget, subject, cost)


def spend_at_once(budget: Budget, subject: str) -> bool:
    """Take one where that needs no waiting; False where it does, or where none is left."""
    return _limiter().spend_at_once(budget, subject)


def give_back(budget: Budget, subject: str) -> None:
    """Take back what was spent for a request that will be charged in another place."""
    _limiter().give_back(budget, subject)


def charge(budget: Budget, subject: str, cost: int = 1) -> None:
    """Spend for the request that runs, whose answer will say what is left; raises RateLimited."""
    g.charged = budget, subject
    if not spend(budget, subject, cost):
        raise refusal(budget, subject)


def is_spent(budget: Budget, subject: str) -> bool:
    """Tell whether the subject was refused and need not ask yet; takes nothing."""
    return _limiter().is_spent(budget, subject)


def is_refusing(budget: Budget) -> bool:
    """Tell whether anybody was refused for this budget and need not ask yet."""
    return _limiter().is_refusing(budget)


def refusal(budget: Budget, subject: str) -> RateLimited:
    """Return what refuses the subject now, whose answer will say so, too."""
    g.charged = budget, subject
    limiter = _limiter()
    seconds = max(1, math.ceil(limiter.pause(budget, subject)))
    return RateLimited(
        f"Too many {THINGS[budget]}: at most {limiter.rates[budget]}. "
        f"Try again in {seconds} second{'s' if seconds > 1 else ''}.",
        retry_after=seconds,
    )


def headers(budget: Budget, subject: str) -> Sequence[tuple[str, str]]:
    """Return what an answer says of the budget; nothing where it is off.

    As draft-ietf-httpapi-ratelimit-headers has it: `q` in `w` seconds are the whole, `r` are
    left, and after `t` seconds all are there again.
    """
    limiter = _limiter()
    rate = limiter.rates[budget]
    if rate is None:
        return ()
    left = limiter.left(budget, subject, rate)
    full_in = math.ceil((rate.most - left) / per_second(rate))
    return (
        ("RateLimit-Policy", f'"{budget}";q={rate.most};w={rate.seconds}'),
        ("RateLimit", f'"{budget}";r={left};t={full_in}'),
    )


def known() -> KnownCredentials:
    """Return the credentials that have let somebody in through this process."""
    found: KnownCredentials = current_app.extensions[KNOWN]
    return found


def _limiter() -> Limiter:
    limiter: Limiter = current_app.extensions[LIMITER]
    return limiter


def _tell(response: Response) -> Response:
    charged = g.pop("charged", None)
    if charged is not None:
        response.headers.extend(headers(*charged))
    return response
