"""Settings: the accounts that one looks after, and new ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access
from billtrack.accounts.users.authority import require_creation
from billtrack.accounts.users.links import Invitation, newest_invitations
from billtrack.accounts.users.models import User
from billtrack.accounts.users.operations import EmailTaken
from billtrack.accounts.users.permissions import MANAGED_ROLES, Breadth, Permission, Reach, Role
from billtrack.accounts.users.queries import SORTS, UserFilter, page_users
from billtrack.billing.customers import invite_account, open_account
from billtrack.core.errors import ConflictError, InvalidError
from billtrack.dashboard.settings.accounts.forms import NewAccountForm
from billtrack.dashboard.settings.views import render_section
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.forms import show_error
from billtrack.dashboard.shared.numbers import read_number
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar

PAGE_SIZE = 25
MAX_PAGE = 10_000
ROLES = {
    Role.CUSTOMER: "Customer",
    Role.PROVIDER: "Provider",
    Role.MANAGER: "Manager",
    Role.ADMIN: "Administrator",
}
STATES = {
    "": "Any state",
    "active": "Active",
    "invited": "Invited",
    "deactivated": "Deactivated",
}


@dashboard.get("/settings/accounts")
@access.require(Permission.USERS_WRITE)
def accounts() -> ResponseReturnValue:
    """List the accounts within reach: search, filter, sort, page."""
    reach, now = access.reach(Permission.USERS_WRITE), datetime.now(UTC)
    args = {name: request.args.get(name, "") for name in ("role", "state", "sort", "dir")}
    search = "".join(filter(str.isprintable, request.args.get("q", "")))[:100].strip()
    role = args["role"] if args["role"] in dict(role_choices(reach)) else ""
    state = args["state"] if args["state"] in STATES else ""
    sort = args["sort"] if args["sort"] in SORTS else "name"
    direction = "desc" if args["dir"] == "desc" else "asc"
    number = min(read_number("page") or 1, MAX_PAGE)
    users, total = page_users(
        reach=reach,
        matching=_matching(search, role, state),
        sort=sort,
        descending=direction == "desc",
        page=number,
        size=PAGE_SIZE,
    )
    invitations = newest_invitations([user.id for user in users])
    filters = {"q": search, "role": role, "state": state}
    return render_section(
        "accounts",
        "dashboard.accounts",
        accounts=[account_view(user, invitations.get(user.id), now) for user in users],
        chosen=filters,
        filters={name: text for name, text in filters.items() if text},
        roles=[("", "Any role"), *role_choices(reach)],
        states=list(STATES.items()),
        sort={"key": sort, "dir": direction},
        page={"number": number, "size": PAGE_SIZE, "total": total},
    )


@dashboard.get("/settings/accounts/new")
@access.require(Permission.USERS_WRITE)
def new_account() -> ResponseReturnValue:
    """Ask whom the account is for."""
    roles = role_choices(access.reach(Permission.USERS_WRITE))
    return _form_page(NewAccountForm(formdata=None, roles=roles, role="customer", invite=True))


@dashboard.post("/settings/accounts")
@access.require(Permission.USERS_WRITE)
def create_account() -> ResponseReturnValue:
    """Open the account, and send an invitation if that is wanted."""
    form = NewAccountForm(roles=role_choices(access.reach(Permission.USERS_WRITE)))
    try:
        if form.validate():
            user_id = _create(form)
            said = "is invited: a letter is on its way." if form.invite.data else "is created."
            flash(f"{form.name.data} {said}", "ok")
            return redirect(url_for("dashboard.account", user_id=user_id), code=303)
    except EmailTaken as error:
        form.email.errors = [error.detail]
    except (InvalidError, ConflictError) as error:
        show_error(form, error)
    return _form_page(form), 422


def role_choices(reach: Reach) -> list[tuple[str, str]]:
    """Return value and label of the roles that the reach may give to accounts."""
    within = ROLES if reach.breadth is Breadth.ALL else MANAGED_ROLES
    return [(role.value, label) for role, label in ROLES.items() if role in within]


def account_view(user: User, invitation: Invitation | None, now: datetime) -> dict[str, Any]:
    """Return the account as the templates take it; `state` is a word and its colour."""
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "role": ROLES[Role(user.role)],
        "is_customer": user.role == Role.CUSTOMER,
        "active": user.is_active,
        "has_password": user.password_hash is not None,
        "state": _state(user, invitation, now),
        "created_at": user.created_at,
        "invited_until": invitation.expires_at if invitation else None,
        "erased_at": user.erased_at,
    }


def _state(user: User, invitation: Invitation | None, now: datetime) -> tuple[str, str]:
    if user.is_erased:
        return "erased", ""
    if not user.is_active:
        return "deactivated", ""
    if user.password_hash is not None:
        return "active", "ok"
    if invitation is None:
        return "Not invited", ""
    if invitation.has_failed:
        return "letter not delivered", "bad"
    expired = invitation.expires_at <= now
    return ("invitation expired", "warn") if expired else ("invited", "accent")


def _matching(search: str, role: str, state: str) -> UserFilter:
    return UserFilter(
        search=search or None,
        role=role or None,
        active={"active": True, "invited": True, "deactivated": False}.get(state),
        invited={"active": False, "invited": True}.get(state),
    )


def _create(form: NewAccountForm) -> int:
    role = Role(form.role.data)
    require_creation(role, reach=access.reach(Permission.USERS_WRITE), with_password=False)
    open_it = invite_account if form.invite.data else open_account
    with transaction():
        user = open_it(
            actor=access.actor(),
            now=datetime.now(UTC),
            calendar=current_calendar(),
            email=form.email.data,
            name=form.name.data,
            role=role,
        )
    return user.id


def _form_page(form: NewAccountForm) -> str:
    return render_section("new_account", "dashboard.accounts", form=form)
