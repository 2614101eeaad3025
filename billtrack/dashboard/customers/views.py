"""The list of customers: search, filter, sort, page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access
from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import MANAGED_ROLES, Breadth, Permission, Reach, Role
from billtrack.accounts.users.queries import SORTS, UserFilter, list_users, page_users, users_by_id
from billtrack.billing.month_totals.figures import CustomerCost
from billtrack.billing.month_totals.queries import is_small, list_costs
from billtrack.billing.plans.queries import plans_on
from billtrack.billing.statements.queries import Terms, list_statements
from billtrack.core.periods import DateRange, Month
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.numbers import read_number
from billtrack.platform.extensions import current_calendar, current_settings
from billtrack.platform.replica.reading import may_be_old
from billtrack.usage.records.queries import last_used

PAGE_SIZE = 25
MAX_PAGE = 10_000
CHUNK = 500
COMPUTED_SORTS = {"cost", "used"}  # the latter reads every rollup: for few customers only
EVERYBODY = "all"

ROLE_LABELS = {
    Role.CUSTOMER: "Customers",
    Role.PROVIDER: "Providers",
    Role.MANAGER: "Managers",
    Role.ADMIN: "Administrators",
}
STATES = {"": "Any state", "active": "Active", "deactivated": "Deactivated"}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the address asks for; whatever it has that is not offered counts as not said."""

    search: str
    role: str
    state: str
    sort: str
    direction: str
    page: int

    @property
    def matching(self) -> UserFilter:
        return UserFilter(
            search=self.search or None,
            role=None if self.role == EVERYBODY else self.role,
            active={"active": True, "deactivated": False}.get(self.state),
        )

    @property
    def filters(self) -> dict[str, str]:
        """Return the filters that are set, as they stand in the address."""
        role = "" if self.role == Role.CUSTOMER else self.role
        found = {"q": self.search, "role": role, "state": self.state}
        return {name: text for name, text in found.items() if text}


@dashboard.get("/customers")
@access.require(Permission.USERS_WRITE)
@may_be_old
def customers() -> ResponseReturnValue:
    """List the customers: search, filter, sort, page."""
    now = datetime.now(UTC)
    reach = access.reach(Permission.USERS_READ)
    asked = _read(reach)
    terms = Terms(current_calendar(), current_settings().currency, now)
    today = terms.calendar.today(now)
    days = DateRange(Month.of(today).first, today)
    costs = list_costs(days, terms=terms)
    users, total = _page(asked, reach, costs)
    if total and not users:
        args: dict[str, Any] = {**request.args, "page": -(-total // PAGE_SIZE)}
        return redirect(url_for("dashboard.customers", **args), code=303)
    return render_template(
        "dashboard/customers/customers.html",
        q=asked.search,
        role=asked.role,
        state=asked.state,
        roles=_roles(reach),
        states=list(STATES.items()),
        filters=asked.filters,
        can_sort_by_use=is_small(),
        sort={"key": asked.sort, "dir": asked.direction},
        page={"number": asked.page, "size": PAGE_SIZE, "total": total},
        month=days.first,
        customers=_rows(users, costs, days, terms),
    )


def _read(reach: Reach) -> _Asked:
    given = {name: request.args.get(name, "") for name in ("role", "state", "sort", "dir")}
    is_sort = given["sort"] in {*SORTS, *COMPUTED_SORTS}
    if given["sort"] == "used":
        is_sort = is_small()
    return _Asked(
        search="".join(filter(str.isprintable, request.args.get("q", "")))[:100].strip(),
        role=given["role"] if given["role"] in dict(_roles(reach)) else Role.CUSTOMER,
        state=given["state"] if given["state"] in STATES else "",
        sort=given["sort"] if is_sort else "name",
        direction=given["dir"] if given["dir"] in {"asc", "desc"} else "asc",
        page=min(read_number("page") or 1, MAX_PAGE),
    )


def _roles(reach: Reach) -> list[tuple[str, str]]:
    """Return value and label of the roles that are within reach."""
    within = ROLE_LABELS if reach.breadth is Breadth.ALL else MANAGED_ROLES
    choices = [(role.value, label) for role, label in ROLE_LABELS.items() if role in within]
    return [*choices, (EVERYBODY, "All accounts")]


def _page(
    asked: _Asked, reach: Reach, costs: Mapping[int, CustomerCost]
) -> tuple[Sequence[User], int]:
    """Return the accounts of the page and how many there are in all."""
    is_descending = asked.direction == "desc"
    if asked.sort not in COMPUTED_SORTS:
        return page_users(
            reach=reach,
            matching=asked.matching,
            sort=asked.sort,
            descending=is_descending,
            page=asked.page,
            size=PAGE_SIZE,
        )
    ids = _all_ids(asked, reach)
    keys = _costs_of(ids, costs) if asked.sort == "cost" else _last_used(ids)
    # Whoever has no value stands last in both directions; equals by id, as pages need.
    known = sorted((key, user_id) for user_id, key in keys.items())
    if is_descending:
        known.sort(key=lambda item: item[0], reverse=True)
    order = [user_id for _, user_id in known] + [i for i in ids if i not in keys]
    start = (asked.page - 1) * PAGE_SIZE
    found = users_by_id(order[start : start + PAGE_SIZE])
    return [found[user_id] for user_id in order[start : start + PAGE_SIZE]], len(ids)


def _all_ids(asked: _Asked, reach: Reach) -> list[int]:
    ids: list[int] = []
    while found := list_users(
        reach=reach, matching=asked.matching, after_id=ids[-1] if ids else 0, limit=CHUNK
    ):
        ids += [user.id for user in found]
    return ids


def _costs_of(ids: Sequence[int], costs: Mapping[int, CustomerCost]) -> dict[int, Any]:
    # Amounts of different currencies do not compare: each currency is a run of its own.
    found = {user_id: costs[user_id] for user_id in ids if user_id in costs}
    return {user_id: (cost.currency, cost.minor) for user_id, cost in found.items()}


def _last_used(ids: Sequence[int]) -> dict[int, Any]:
    found: dict[int, date] = {}
    for start in range(0, len(ids), CHUNK):
        found |= last_used(ids[start : start + CHUNK])
    return found


def _rows(
    users: Sequence[User], costs: Mapping[int, CustomerCost], days: DateRange, terms: Terms
) -> list[dict[str, Any]]:
    ids = [user.id for user in users]
    plans, seen = plans_on(ids, days.last), last_used(ids)
    # Those who are not counted among all: new since then, or deactivated without usage.
    others = list_statements([i for i in ids if i not in costs], days, terms=terms)
    found = {user_id: (other.statement.total, other.currency) for user_id, other in others.items()}
    found |= {i: (costs[i].minor, costs[i].currency) for i in ids if i in costs}
    return [
        {
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "role": user.role,
            "plan": plans[user.id].name if user.id in plans else None,
            "active": user.is_active,
            "erased": user.is_erased,
            "minor": found[user.id][0] if user.id in plans or found[user.id][0] else None,
            "currency": found[user.id][1],
            "unpriced": user.id in costs and costs[user.id].unpriced > 0,
            "last_used_on": seen.get(user.id),
            "since": terms.calendar.day_of(user.created_at),
        }
        for user in users
    ]
