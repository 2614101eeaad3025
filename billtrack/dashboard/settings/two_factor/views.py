"""Settings: one's own second factor: set up, new recovery codes, switch off."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar

import segno
from flask import Response, flash, redirect, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm

from billtrack.accounts import access, login_attempts
from billtrack.accounts.sign_in import second_factor as factors
from billtrack.accounts.sign_in.password_changes import VerifiedPassword
from billtrack.accounts.sign_in.recovery_codes import FEW, count_recovery_codes
from billtrack.accounts.sign_in.second_factor_secrets import address_of, as_text
from billtrack.accounts.sign_in.throttle import TooManyTries
from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Permission
from billtrack.accounts.users.queries import get_user
from billtrack.core.errors import BilltrackError, InvalidError, NotFoundError
from billtrack.dashboard.settings.forms import CurrentPasswordForm, PasswordAndCodeForm
from billtrack.dashboard.settings.views import render_section
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.forms import CodeForm, show_refusal
from billtrack.platform.db import transaction

T = TypeVar("T")

GROUP = 4
"""Letters of the secret that stand together, for those who type it."""


class NothingProposed(NotFoundError):
    """No second factor is being set up at the moment."""

    code = "nothing_proposed"


@dashboard.get("/settings/second-factor")
@access.require(Permission.PROFILE)
def second_factor() -> ResponseReturnValue:
    """Show whether it is on, and what can be done next."""
    return _page(None)


@dashboard.post("/settings/second-factor")
@access.require(Permission.PROFILE)
def propose_second_factor() -> ResponseReturnValue:
    """Make a secret to show, once the password was right."""
    form, me = CurrentPasswordForm(), _me()
    if not form.validate():
        return _page(form), HTTPStatus.UNPROCESSABLE_ENTITY
    try:
        verified = login_attempts.attempt_password(me, form.current_password.data)
        with transaction():
            factors.propose(verified, now=datetime.now(UTC))
    except factors.SecondFactorIsOn:
        return _back()
    except (InvalidError, TooManyTries) as error:
        return _refuse(form, error)
    return _back()


@dashboard.get("/settings/second-factor/code.svg")
@access.require(Permission.PROFILE)
def draw_second_factor() -> ResponseReturnValue:
    """Draw the QR code of what is being set up, dark on light whatever the page looks like."""
    me = _me()
    secret = factors.find_proposed_secret(me.id, now=datetime.now(UTC))
    if secret is None:
        raise NothingProposed(
            "Two-factor authentication is not being set up. Start in the settings."
        )
    drawing = io.BytesIO()
    code = segno.make(address_of(secret, account=me.email), error="m", micro=False)
    code.save(drawing, kind="svg", scale=4, border=4, dark="black", light="white")
    return Response(drawing.getvalue(), mimetype="image/svg+xml")


@dashboard.post("/settings/second-factor/confirm")
@access.require(Permission.PROFILE)
def confirm_second_factor() -> ResponseReturnValue:
    """Switch it on once a code of it was right, and show the recovery codes."""
    form = CodeForm()
    if not form.validate():
        return _page(form), HTTPStatus.UNPROCESSABLE_ENTITY
    try:
        codes = _confirm(form.code.data)
    except factors.NoSecondFactor as error:
        flash(error.detail, "warn")
        return _back()
    except InvalidError as error:
        return _refuse(form, error)
    return _show_codes(codes, "Two-factor authentication is on. All other browsers are signed out.")


@dashboard.post("/settings/second-factor/cancel")
@access.require(Permission.PROFILE)
def cancel_second_factor() -> ResponseReturnValue:
    """Forget what is being set up; what is on stays on."""
    with transaction():
        factors.withdraw(access.principal().user_id)
    return redirect(url_for("dashboard.profile"), code=303)


@dashboard.post("/settings/second-factor/recovery-codes")
@access.require(Permission.PROFILE)
def make_recovery_codes() -> ResponseReturnValue:
    """Show ten new recovery codes; those before are worthless."""
    form = PasswordAndCodeForm()
    if not form.validate():
        return _page(form), HTTPStatus.UNPROCESSABLE_ENTITY
    try:
        codes = _prove(form, factors.renew_recovery_codes)
    except factors.NoSecondFactor:
        return _back()
    except (InvalidError, TooManyTries) as error:
        return _refuse(form, error)
    return _show_codes(codes, "These are your new recovery codes. Those before are worthless.")


@dashboard.post("/settings/second-factor/off")
@access.require(Permission.PROFILE)
def switch_second_factor_off() -> ResponseReturnValue:
    """Let the password alone open the account again."""
    form = PasswordAndCodeForm()
    if not form.validate():
        return _page(form), HTTPStatus.UNPROCESSABLE_ENTITY
    try:
        _prove(form, factors.switch_off)
    except factors.NoSecondFactor:
        return _back()
    except (InvalidError, TooManyTries) as error:
        return _refuse(form, error)
    flash("Two-factor authentication is off. Your password alone signs you in now.", "warn")
    return _back()


def _confirm(code: str) -> Sequence[str]:
    who = access.principal()
    with transaction():
        codes, token = factors.confirm(
            who.user_id,
            code=code,
            session_id=who.session_id,
            actor=access.actor(),
            now=datetime.now(UTC),
        )
    session[access.SESSION_COOKIE_KEY] = token
    return codes


def _prove(form: PasswordAndCodeForm, change: Callable[..., T]) -> T:
    """Make a change that takes password and code; tries are counted like those to sign in."""
    actor, code = access.actor(), form.code.data

    def attempt(verified: VerifiedPassword, now: datetime) -> T:
        return change(verified, code=code, actor=actor, now=now)

    return login_attempts.attempt_password_and_code(_me(), form.current_password.data, attempt)


def _refuse(form: FlaskForm, error: BilltrackError) -> ResponseReturnValue:
    status, headers = show_refusal(form, error)
    return _page(form), status, headers


def _page(form: FlaskForm | None) -> str:
    """Show the step that comes next; with the form that was refused, if it is of that step."""
    me, now = _me(), datetime.now(UTC)
    factor = factors.find_second_factor(me.id)
    secret = factors.find_proposed_secret(me.id, now=now)
    if factor is not None:
        kind, said = PasswordAndCodeForm, _view(me.id, factor.confirmed_at)
    elif secret is not None:
        kind, said = CodeForm, {"step": "confirm", "secret": _in_groups(as_text(secret))}
    else:
        kind, said = CurrentPasswordForm, {"step": "begin"}
    if type(form) is not kind:
        form = kind(formdata=None)
    return render_section("second_factor", "dashboard.profile", form=form, **said)


def _view(user_id: int, since: datetime | None) -> dict[str, Any]:
    left = count_recovery_codes(user_id)
    return {"step": "on", "since": since, "left": left, "few": left <= FEW}


def _in_groups(text: str) -> str:
    return " ".join(text[start : start + GROUP] for start in range(0, len(text), GROUP))


def _show_codes(codes: Sequence[str], said: str) -> str:
    return render_section("recovery_codes", "dashboard.profile", codes=codes, said=said)


def _me() -> User:
    return get_user(access.principal().user_id, reach=access.reach(Permission.PROFILE))


def _back() -> ResponseReturnValue:
    return redirect(url_for("dashboard.second_factor"), code=303)
