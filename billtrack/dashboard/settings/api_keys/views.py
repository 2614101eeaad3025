"""Settings: API keys. The secret text is in the answer that makes a key, and nowhere else."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access
from billtrack.accounts.credentials import api_keys as keys
from billtrack.accounts.users.authority import lock_user, require_key_change
from billtrack.accounts.users.models import ApiKey, User
from billtrack.accounts.users.permissions import Breadth, Permission, Role, grantable_scopes
from billtrack.accounts.users.queries import find_user, find_user_by_email, page_api_keys
from billtrack.core.errors import InvalidError, NotFoundError
from billtrack.dashboard.settings.api_keys.forms import AccountForm, ApiKeyForm, scope_name
from billtrack.dashboard.settings.views import render_section
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.forms import show_error
from billtrack.dashboard.shared.numbers import read_number
from billtrack.platform.db import transaction
from billtrack.platform.idempotency import Answer, Command, IdempotencyConflict, run_once

PAGE_SIZE = 25
MAX_PAGE = 10_000
SOON = timedelta(days=14)
"""How long before its end a key is marked."""


class AccountNotFound(NotFoundError):
    """No active account has this address, or it is not theirs to make keys for."""

    code = "account_not_found"


@dashboard.get("/settings/api-keys")
@access.require(Permission.API_KEYS_READ)
def api_keys() -> ResponseReturnValue:
    """List the keys that work, or with `state=ended` those that do not any more."""
    now, reach = datetime.now(UTC), access.reach(Permission.API_KEYS_READ)
    live = request.args.get("state") != "ended"
    number = min(read_number("page") or 1, MAX_PAGE)
    found, total = page_api_keys(reach=reach, live=live, now=now, page=number, size=PAGE_SIZE)
    return render_section(
        "api_keys",
        "dashboard.api_keys",
        keys=[key_view(key, user, now) for key, user in found],
        live=live,
        sees_all=reach.breadth is Breadth.ALL,
        page={"number": number, "size": PAGE_SIZE, "total": total},
    )


@dashboard.get("/settings/api-keys/new")
@access.require(Permission.API_KEYS_WRITE)
def new_api_key() -> ResponseReturnValue:
    """Ask what the key is for; an administrator may choose another account by its address."""
    chooser = AccountForm(request.args)
    owner = _find_owner(chooser.account.data) if chooser.validate() else None
    if owner is not None:
        return _form_page(_form(owner), owner)
    if not _sees_all():
        raise AccountNotFound("There is no such account that you can see.")
    chooser.account.errors = chooser.account.errors or ["No active account has this address."]
    return _form_page(_form(_me()), _me(), chooser), 422


@dashboard.post("/settings/api-keys")
@access.require(Permission.API_KEYS_WRITE)
def create_api_key() -> ResponseReturnValue:
    """Make a key and show its secret text, this once."""
    owner = _find_owner(request.form.get("account"))
    if owner is None:
        raise AccountNotFound("There is no such account that you can see.")
    form = _form(owner)
    try:
        if not form.validate():
            return _form_page(form, owner), 422
        answer = _create(form, owner)
    except IdempotencyConflict:
        # Back in the browser, other words, sent again: that can well be meant.
        form.idempotency_key.data = secrets.token_urlsafe(16)
        form.form_errors.append("This form made a key before. Send it again to make another one.")
        return _form_page(form, owner), 422
    except InvalidError as error:
        show_error(form, error)
        return _form_page(form, owner), 422
    return show_secret(answer, owner)


def show_secret(answer: Answer, owner: User) -> ResponseReturnValue:
    """Show the secret text of a key that was just made; a repeated form does not see it again."""
    if answer.body["secret"] is None:
        flash("This key was made before. Its secret text is shown only once.", "warn")
        return redirect(url_for("dashboard.api_keys"), code=303)
    until = answer.body["works_until"]
    said = {**answer.body, "works_until": datetime.fromisoformat(until) if until else None}
    page = make_response(
        render_template(
            "dashboard/settings/api_key_made.html",
            owner=owner.name,
            has_grace=until is not None and said["works_until"] > datetime.now(UTC),
            **said,
        )
    )
    page.headers["Cache-Control"] = "no-store"
    return page


@dashboard.get("/settings/api-keys/<id:key_id>/revoke")
@access.require(Permission.API_KEYS_WRITE)
def confirm_revoke_api_key(key_id: int) -> ResponseReturnValue:
    """Ask whether the key shall stop working."""
    key = keys.get_api_key(key_id, reach=access.reach(Permission.API_KEYS_WRITE))
    owner = find_user(key.user_id)
    if key.revoked_at is not None or owner is None:
        return redirect(url_for("dashboard.api_keys", state="ended"), code=303)
    now = datetime.now(UTC)
    return render_template("dashboard/settings/revoke_api_key.html", key=key_view(key, owner, now))


@dashboard.post("/settings/api-keys/<id:key_id>/revoke")
@access.require(Permission.API_KEYS_WRITE)
def revoke_api_key(key_id: int) -> ResponseReturnValue:
    """Make the key useless at once."""
    with transaction():
        key = keys.revoke_api_key(
            key_id,
            actor=access.actor(),
            reach=access.reach(Permission.API_KEYS_WRITE),
            now=datetime.now(UTC),
        )
    flash(f"The key “{key.name}” is revoked.", "ok")
    return redirect(url_for("dashboard.api_keys"), code=303)


def _create(form: ApiKeyForm, owner: User) -> Answer:
    """Make the key, once for the same form; what is remembered of it lacks the secret."""
    now, reach = datetime.now(UTC), access.reach(Permission.API_KEYS_WRITE)
    asked = {"name": form.name.data, "scopes": sorted(form.scopes.data), "user_id": owner.id}

    def create() -> Answer:
        key, secret = keys.create_api_key(
            lock_user(owner.id, reach=reach, rule=require_key_change),
            actor=access.actor(),
            now=now,
            name=form.name.data,
            scopes=form.scopes.data,
            expires_at=form.expires_at,
        )
        return made_answer(key, secret)

    command = Command(
        account_id=access.principal().user_id,
        name="create_api_key form",
        key=form.idempotency_key.data,
        request={**asked, "expires": form.expires.data},
    )
    with transaction():
        return run_once(command, now=now, action=create, remembered=without_secret)


def made_answer(key: ApiKey, secret: str, *, replaced: ApiKey | None = None) -> Answer:
    """Return what is said of a new key, once, and until when the one that it replaces works."""
    until = replaced.expires_at.isoformat() if replaced and replaced.expires_at else None
    said = {"name": key.name, "prefix": key.prefix, "secret": secret, "works_until": until}
    return Answer(201, said)


def without_secret(answer: Answer) -> Answer:
    """Return the answer as it is remembered."""
    return replace(answer, body={**answer.body, "secret": None})


def _form(owner: User) -> ApiKeyForm:
    form = ApiKeyForm(
        request.form if request.method == "POST" else None,
        scopes=grantable_scopes(Role(owner.role)),
        now=datetime.now(UTC),
    )
    form.account.data = owner.email
    if not form.idempotency_key.data:
        form.idempotency_key.data = secrets.token_urlsafe(16)
    return form


def _form_page(form: ApiKeyForm, owner: User, chooser: AccountForm | None = None) -> str:
    return render_template(
        "dashboard/settings/new_api_key.html",
        form=form,
        owner={"name": owner.name, "role": owner.role, "is_me": owner.id == _me().id},
        chooser=(chooser or AccountForm(None, account=owner.email)) if _sees_all() else None,
    )


def _find_owner(email: str | None) -> User | None:
    """Return the active account that the key would be of; without an address one's own."""
    if email and not email.isprintable():
        return None  # PostgreSQL cannot even compare with NUL
    owner = find_user_by_email(email) if email else _me()
    covered = owner is not None and access.reach(Permission.API_KEYS_WRITE).covers(owner.id)
    return owner if owner is not None and covered and owner.is_active else None


def _me() -> User:
    user = find_user(access.principal().user_id)
    if user is None:
        raise RuntimeError("who is signed in has an account")
    return user


def _sees_all() -> bool:
    return access.reach(Permission.API_KEYS_WRITE).breadth is Breadth.ALL


def key_view(key: ApiKey, owner: User, now: datetime) -> dict[str, Any]:
    """Return what pages say about a key: of its scopes those that the role still grants."""
    grantable = grantable_scopes(Role(owner.role))
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "owner": owner.name,
        "owner_email": owner.email,
        "scopes": [scope_name(scope) for scope in key.scopes if scope in grantable],
        "created_at": key.created_at,
        "used_at": key.used_at,
        "expires_at": key.expires_at,
        "expires_soon": key.expires_at is not None and key.expires_at - now < SOON,
        "is_replaced": key.rotated_at is not None,
        "ended": _end(key, owner, now),
    }


def _end(key: ApiKey, owner: User, now: datetime) -> str | None:
    """Say why the key does not work any more, or nothing."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired" if key.rotated_at is None else "replaced"
    return None if owner.is_active else "account deactivated"
