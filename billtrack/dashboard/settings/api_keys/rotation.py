"""Settings: give an API key a successor, which is shown once."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access
from billtrack.accounts.credentials.api_keys import get_api_key
from billtrack.accounts.credentials.key_rotation import (
    ApiKeyEnded,
    ApiKeyRotated,
    is_working,
    rotate_api_key,
)
from billtrack.accounts.users.models import ApiKey, User
from billtrack.accounts.users.permissions import Permission
from billtrack.accounts.users.queries import users_by_id
from billtrack.dashboard.settings.api_keys.forms import RotateKeyForm
from billtrack.dashboard.settings.api_keys.views import (
    key_view,
    made_answer,
    show_secret,
    without_secret,
)
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.platform.db import transaction
from billtrack.platform.idempotency import Answer, Command, IdempotencyConflict, run_once


@dashboard.get("/settings/api-keys/<id:key_id>/rotate")
@access.require(Permission.API_KEYS_WRITE)
def confirm_rotate_api_key(key_id: int) -> ResponseReturnValue:
    """Ask how long the key shall work on beside its successor."""
    key, owner = _key_and_owner(key_id)
    if key.rotated_at is not None or not is_working(key, owner, now=datetime.now(UTC)):
        return redirect(url_for("dashboard.api_keys"), code=303)
    return _form_page(RotateKeyForm(idempotency_key=secrets.token_urlsafe(16)), key, owner)


@dashboard.post("/settings/api-keys/<id:key_id>/rotate")
@access.require(Permission.API_KEYS_WRITE)
def send_rotate_api_key(key_id: int) -> ResponseReturnValue:
    """Make the successor and show its secret text, this once."""
    key, owner = _key_and_owner(key_id)
    form = RotateKeyForm(request.form)
    if not form.validate():
        return _form_page(form, key, owner), 422
    try:
        return show_secret(_rotate(form, key_id), owner)
    except IdempotencyConflict:
        form.form_errors.append("This form was sent before, with another choice.")
    except (ApiKeyEnded, ApiKeyRotated) as error:
        form.form_errors.append(error.detail)
    return _form_page(form, key, owner), 422


def _rotate(form: RotateKeyForm, key_id: int) -> Answer:
    """Rotate the key, once for the same form; what is remembered of it lacks the secret."""
    now = datetime.now(UTC)

    def create() -> Answer:
        successor, secret = rotate_api_key(
            key_id,
            actor=access.actor(),
            reach=access.reach(Permission.API_KEYS_WRITE),
            now=now,
            grace=form.grace,
        )
        old = get_api_key(key_id, reach=access.reach(Permission.API_KEYS_WRITE))
        return made_answer(successor, secret, replaced=old)

    command = Command(
        account_id=access.principal().user_id,
        name=f"rotate_api_key {key_id} form",
        key=form.idempotency_key.data,
        request={"hours": form.hours.data},
    )
    with transaction():
        return run_once(command, now=now, action=create, remembered=without_secret)


def _key_and_owner(key_id: int) -> tuple[ApiKey, User]:
    key = get_api_key(key_id, reach=access.reach(Permission.API_KEYS_WRITE))
    return key, users_by_id([key.user_id])[key.user_id]


def _form_page(form: RotateKeyForm, key: ApiKey, owner: User) -> str:
    view = key_view(key, owner, datetime.now(UTC))
    return render_template("dashboard/settings/rotate_api_key.html", form=form, key=view)
