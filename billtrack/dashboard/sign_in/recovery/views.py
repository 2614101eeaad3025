"""Ways to a password without the present one: "forgot password", and the page behind a link."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access, login_attempts
from billtrack.accounts.sign_in import password_recovery
from billtrack.accounts.sign_in.throttle import NewPassword, TooManyTries
from billtrack.accounts.users import links
from billtrack.accounts.users.models import User
from billtrack.accounts.users.passwords import hash_password
from billtrack.core.errors import InvalidError
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.forms import show_refusal
from billtrack.dashboard.sign_in.recovery.forms import ChoosePasswordForm, ForgotPasswordForm
from billtrack.platform.db import transaction

SECRET_ADDRESS = {"Referrer-Policy": "strict-origin"}
"""What an answer says whose address holds a secret: requests from there name the site alone."""


@dashboard.route("/forgot-password", methods=["GET", "POST"])
@access.public
def forgot_password() -> ResponseReturnValue:
    """Ask for the address; what is answered says nothing about who has an account."""
    form = ForgotPasswordForm()
    if not form.validate_on_submit():
        status = 422 if form.is_submitted() else 200
        return render_template("dashboard/sign_in/forgot_password.html", form=form), status
    with transaction():
        password_recovery.request_reset(
            form.email.data, actor=access.actor(), now=datetime.now(UTC)
        )
    return render_template("dashboard/sign_in/link_sent.html", address=form.email.data)


@dashboard.route("/choose-password", methods=["GET", "POST"])
@access.public
def choose_password() -> ResponseReturnValue:
    """Open a one-time link, which changes nothing, or use it for a password."""
    form = ChoosePasswordForm()
    if request.method != "POST":
        form.token.data = request.args.get("token", "")
    owner = links.find_link_owner(form.token.data or "", now=datetime.now(UTC))
    if owner is None:
        return _refused()
    if not form.validate_on_submit():
        return _form_page(form, owner, status=422 if form.is_submitted() else 200)
    try:
        _choose(form, owner)
    except links.LinkRefused:
        return _refused()
    except (InvalidError, TooManyTries) as error:
        status, headers = show_refusal(form, error)
        return _form_page(form, owner, status=status, headers=headers)
    flash("Your password is set. Sign in with it.", "ok")
    return redirect(url_for("dashboard.sign_in"), code=303)


def _choose(form: ChoosePasswordForm, owner: User) -> None:
    about = (owner.email, owner.name)
    login_attempts.count_password(NewPassword.LINK, account_id=owner.id)
    password = hash_password(form.password.data, about=about)
    with transaction():
        password_recovery.choose_password(
            form.token.data,
            password=password,
            actor=access.actor(),
            now=datetime.now(UTC),
        )


def _form_page(
    form: ChoosePasswordForm, owner: User, *, status: int, headers: Mapping[str, str] = {}
) -> ResponseReturnValue:
    page = render_template("dashboard/sign_in/choose_password.html", form=form, owner=owner.email)
    return page, status, {**SECRET_ADDRESS, **headers}


def _refused() -> ResponseReturnValue:
    return render_template("dashboard/sign_in/link_refused.html"), 404, SECRET_ADDRESS
