"""Settings: one account: what it is, its way in, and whether it is let in at all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import flash, redirect, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access, lifecycle
from billtrack.accounts.sign_in import password_recovery, second_factor
from billtrack.accounts.users import operations, queries
from billtrack.accounts.users.links import newest_invitations
from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Breadth, Permission, Role
from billtrack.billing.customers import change_role
from billtrack.core.errors import ConflictError, InvalidError
from billtrack.dashboard.settings.accounts.forms import AccountDetailsForm
from billtrack.dashboard.settings.accounts.views import ROLES, account_view, role_choices
from billtrack.dashboard.settings.views import render_section
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.forms import show_error
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar
from billtrack.privacy.erasure import find_erasure


@dashboard.get("/settings/accounts/<id:user_id>")
@access.require(Permission.USERS_WRITE)
def account(user_id: int) -> ResponseReturnValue:
    """Show one account, with what can be done about it."""
    user = _get(user_id)
    return _page(user, AccountDetailsForm(formdata=None, obj=user, roles=_roles(user)))


@dashboard.post("/settings/accounts/<id:user_id>")
@access.require(Permission.USERS_WRITE)
def change_account(user_id: int) -> ResponseReturnValue:
    """Change name, address and role; all of it or nothing."""
    user = _get(user_id)
    form = AccountDetailsForm(roles=_roles(user))
    try:
        if form.validate():
            _save(user_id, form)
            flash("The account is saved.", "ok")
            return _back(user_id)
    except operations.EmailTaken as error:
        form.email.errors = [error.detail]
    except operations.AccountErased as error:
        flash(error.detail, "bad")
        return _back(user_id)
    except operations.LastAdministrator as error:
        form.role.errors = [error.detail]
    except InvalidError as error:
        show_error(form, error)
    return _page(_get(user_id), form), 422


@dashboard.post("/settings/accounts/<id:user_id>/invite")
@access.require(Permission.USERS_WRITE)
def invite_account(user_id: int) -> ResponseReturnValue:
    """Send an invitation, or another one."""
    try:
        with transaction():
            password_recovery.invite(user_id, **_by())
        flash("An invitation is on its way. Earlier ones do not work any more.", "ok")
    except ConflictError as error:
        flash(error.detail, "bad")
    return _back(user_id)


@dashboard.post("/settings/accounts/<id:user_id>/password-reset")
@access.require(Permission.USERS_WRITE)
def send_password_reset(user_id: int) -> ResponseReturnValue:
    """Send a link to choose another password."""
    try:
        with transaction():
            password_recovery.send_reset(user_id, **_by())
        flash("A link is on its way. It works once, within 1 hour.", "ok")
    except ConflictError as error:
        flash(error.detail, "bad")
    return _back(user_id)


@dashboard.post("/settings/accounts/<id:user_id>/second-factor/reset")
@access.require(Permission.USERS_WRITE)
def reset_second_factor(user_id: int) -> ResponseReturnValue:
    """Take the second factor away from somebody who has lost it."""
    try:
        with transaction():
            second_factor.reset(user_id, **_by())
        flash("Two-factor authentication is reset. The owner is told by e-mail.", "ok")
    except ConflictError as error:
        flash(error.detail, "bad")
    return _back(user_id)


@dashboard.get("/settings/accounts/<id:user_id>/deactivate")
@access.require(Permission.USERS_WRITE)
def confirm_deactivate_account(user_id: int) -> ResponseReturnValue:
    """Ask whether the account shall be shut out."""
    user = _get(user_id)
    if not user.is_active:
        return _back(user_id)
    return render_section("deactivate_account", "dashboard.accounts", account=_view(user))


@dashboard.post("/settings/accounts/<id:user_id>/deactivate")
@access.require(Permission.USERS_WRITE)
def deactivate_account(user_id: int) -> ResponseReturnValue:
    """Shut the account out; its usage and bills stay."""
    try:
        with transaction():
            lifecycle.deactivate_user(user_id, **_by())
        flash("The account is deactivated.", "ok")
    except operations.LastAdministrator as error:
        flash(error.detail, "bad")
    return _back(user_id)


@dashboard.post("/settings/accounts/<id:user_id>/reactivate")
@access.require(Permission.USERS_WRITE)
def reactivate_account(user_id: int) -> ResponseReturnValue:
    """Let the account in again."""
    try:
        with transaction():
            lifecycle.reactivate_user(user_id, **_by())
        flash("The account is active again.", "ok")
    except operations.AccountErased as error:
        flash(error.detail, "bad")
    return _back(user_id)


def _get(user_id: int) -> User:
    return queries.get_user(user_id, reach=access.reach(Permission.USERS_WRITE))


def _by() -> dict[str, Any]:
    reach = access.reach(Permission.USERS_WRITE)
    return {"actor": access.actor(), "reach": reach, "now": datetime.now(UTC)}


def _roles(user: User) -> list[tuple[str, str]]:
    """Return the roles to choose from; a manager's own cannot be changed by the manager."""
    choices = role_choices(access.reach(Permission.USERS_WRITE))
    own = [(user.role, ROLES[Role(user.role)])]
    return choices if own[0] in choices else own


def _save(user_id: int, form: AccountDetailsForm) -> None:
    role = Role(form.role.data)
    with transaction():
        operations.update_user(user_id, name=form.name.data, email=form.email.data, **_by())
        change_role(user_id, role=role, calendar=current_calendar(), **_by())


def _view(user: User) -> dict[str, Any]:
    return account_view(user, newest_invitations([user.id]).get(user.id), datetime.now(UTC))


def _page(user: User, form: AccountDetailsForm) -> str:
    who = access.principal()
    may_export = who.may(Permission.USERS_EXPORT)
    job = find_erasure(user) if user.is_erased else None
    is_admin = access.reach(Permission.USERS_WRITE).breadth is Breadth.ALL
    has_second_factor = second_factor.find_second_factor(user.id) is not None
    return render_section(
        "account",
        "dashboard.accounts",
        account=_view(user),
        form=form,
        is_me=user.id == who.user_id,
        may_export=may_export and access.reach(Permission.USERS_EXPORT).covers(user.id),
        may_erase=who.may(Permission.USERS_ERASE),
        erasure=job.status if job else None,
        erasure_job=job.id if job else None,
        may_reset=is_admin and has_second_factor and user.id != who.user_id,
        has_second_factor=has_second_factor,
    )


def _back(user_id: int) -> ResponseReturnValue:
    return redirect(url_for("dashboard.account", user_id=user_id), code=303)
