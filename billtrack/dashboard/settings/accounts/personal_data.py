"""Settings: hand out what is held about a person, or erase it."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, flash, redirect, stream_with_context, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access
from billtrack.accounts.erasure import marker_email, marker_name
from billtrack.accounts.users.models import User
from billtrack.accounts.users.operations import LastAdministrator
from billtrack.accounts.users.permissions import Permission, Role
from billtrack.accounts.users.queries import get_user
from billtrack.dashboard.settings.accounts.forms import ErasureForm
from billtrack.dashboard.settings.accounts.views import ROLES
from billtrack.dashboard.settings.views import render_section
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.platform.db import transaction
from billtrack.platform.limits import Budget
from billtrack.privacy.erasure import OwnErasure, erase_account
from billtrack.privacy.export import export_disposition, note_export, stream_export
from billtrack.privacy.losses import count_losses


@dashboard.post("/settings/accounts/<id:user_id>/export")
@access.require(Permission.USERS_EXPORT, budget=Budget.REPORTS)
def export_personal_data(user_id: int) -> ResponseReturnValue:
    """Send all that is held about the account as a ZIP; the audit log notes it."""
    now, reach = datetime.now(UTC), access.reach(Permission.USERS_EXPORT)
    with transaction():
        note_export(user_id, actor=access.actor(), reach=reach, now=now)
    parts = stream_with_context(stream_export(user_id, now=now))
    response = Response(parts, mimetype="application/zip")
    response.headers["Content-Disposition"] = export_disposition(user_id, now=now)
    return response


@dashboard.get("/settings/accounts/<id:user_id>/erase")
@access.require(Permission.USERS_ERASE)
def confirm_erase_account(user_id: int) -> ResponseReturnValue:
    """Say what would be lost, and ask for the address."""
    user = _get(user_id)
    if user.is_erased or user.id == access.principal().user_id:
        return _back(user_id)
    return _page(user, ErasureForm(formdata=None, expected=user.email))


@dashboard.post("/settings/accounts/<id:user_id>/erase")
@access.require(Permission.USERS_ERASE)
def send_erase_account(user_id: int) -> ResponseReturnValue:
    """Erase the personal data of the account whose address was typed."""
    user = _get(user_id)
    if user.is_erased:
        return _back(user_id)
    form = ErasureForm(expected=user.email)
    if not form.validate():
        return _page(user, form), 422
    reach = access.reach(Permission.USERS_ERASE)
    try:
        with transaction():
            erase_account(user_id, actor=access.actor(), reach=reach, now=datetime.now(UTC))
        flash("The personal data are erased. Files follow within minutes.", "ok")
    except (OwnErasure, LastAdministrator) as error:
        flash(error.detail, "bad")
    return _back(user_id)


def _get(user_id: int) -> User:
    return get_user(user_id, reach=access.reach(Permission.USERS_ERASE))


def _page(user: User, form: ErasureForm) -> str:
    return render_section(
        "erase_account",
        "dashboard.accounts",
        form=form,
        account={
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "role": ROLES[Role(user.role)],
        },
        marker={"name": marker_name(user), "email": marker_email(user.id)},
        losses=count_losses(user.id),
    )


def _back(user_id: int) -> ResponseReturnValue:
    return redirect(url_for("dashboard.account", user_id=user_id), code=303)
