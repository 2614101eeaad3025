"""The second page of signing in: a code of the second factor, or a recovery code."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from flask import flash, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from billtrack.accounts import access, login_attempts
from billtrack.accounts.sign_in.pending_sign_ins import SignInExpired, find_pending_user
from billtrack.accounts.sign_in.second_factor import WrongCode
from billtrack.accounts.sign_in.sessions import start_session
from billtrack.accounts.sign_in.sign_in import prove_code
from billtrack.accounts.sign_in.throttle import TooManyTries
from billtrack.accounts.users.models import User
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.forms import CodeForm, show_error
from billtrack.dashboard.sign_in.views import (
    PENDING_COOKIE_KEY,
    keep_session,
    wanted_page,
    with_wanted_page,
)
from billtrack.platform.http import client_address


@dashboard.route("/sign-in/code", methods=["GET", "POST"])
@access.public
def sign_in_code() -> ResponseReturnValue:
    """Ask for the code after the right password; afterwards go where the visitor wanted to."""
    if access.find_principal() is not None:
        return redirect(wanted_page(), code=303)
    half = session.get(PENDING_COOKIE_KEY)
    user = find_pending_user(half, now=datetime.now(UTC)) if isinstance(half, str) else None
    if user is None:
        return _begin_again()
    form = CodeForm()
    if not form.validate_on_submit():
        return _page(form), 422 if form.is_submitted() else 200
    return _answer(user, str(half), form)


def _answer(user: User, half: str, form: CodeForm) -> ResponseReturnValue:
    try:
        token = login_attempts.attempt_code(user, partial(_try, half, form.code.data), tries=2)
    except SignInExpired:
        return _begin_again()
    except WrongCode as error:
        show_error(form, error)
        return _page(form), HTTPStatus.UNAUTHORIZED
    except TooManyTries as error:
        form.form_errors.append(error.detail)
        return _page(form), HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(error.retry_after)}
    keep_session(token)
    return redirect(wanted_page(), code=303)


def _try(half: str, code: str, now: datetime) -> str:
    user, proof = prove_code(half, code=code, actor=access.actor(), now=now)
    return start_session(
        user,
        now=now,
        address=client_address(),
        user_agent=request.user_agent.string,
        second_factor=proof,
    )


def _page(form: CodeForm) -> str:
    form.code.data = None  # what was typed is used up or wrong
    return render_template(
        "dashboard/sign_in/code.html",
        form=form,
        by_recovery_code="recovery" in request.args,
        with_app=with_wanted_page("dashboard.sign_in_code"),
        with_recovery_code=with_wanted_page("dashboard.sign_in_code", recovery="1"),
    )


def _begin_again() -> ResponseReturnValue:
    if session.pop(PENDING_COOKIE_KEY, None) is not None:
        flash("That took too long. Sign in once more.", "warn")
    return redirect(with_wanted_page("dashboard.sign_in"), code=303)
