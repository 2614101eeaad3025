"""Sign in, sign out, and the one-time page that creates the first administrator."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access, login_attempts
from billtrack.accounts.sign_in import sessions
from billtrack.accounts.sign_in.authentication import SignInRefused
from billtrack.accounts.sign_in.password_changes import VerifiedPassword, hash_first_password
from billtrack.accounts.sign_in.sign_in import CodeDue, prove_password
from billtrack.accounts.sign_in.throttle import TooManyTries
from billtrack.accounts.users.permissions import Permission, Role
from billtrack.accounts.users.queries import has_administrator
from billtrack.billing.customers import open_account
from billtrack.core.errors import ConflictError, InvalidError, NotFoundError
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.forms import show_error
from billtrack.dashboard.sign_in.forms import SetUpForm, SignInForm
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar
from billtrack.platform.http import client_address
from billtrack.platform.installation.operations import require_setup_token, void_setup_token

PENDING_COOKIE_KEY = "half"
"""What the cookie calls a sign-in whose code is due; nothing else reads it."""


class SetUpDone(NotFoundError):
    """There is an administrator already."""

    code = "set_up_done"


@dashboard.route("/sign-in", methods=["GET", "POST"])
@access.public
def sign_in() -> ResponseReturnValue:
    """Ask for e-mail and password; afterwards for a code, or go where the visitor wanted to."""
    if access.find_principal() is not None:
        return redirect(wanted_page(), code=303)
    form = SignInForm()
    if not form.validate_on_submit():
        status = 422 if form.is_submitted() else 200
        return render_template("dashboard/sign_in/sign_in.html", form=form), status
    try:
        found = login_attempts.attempt_sign_in(form.email.data, form.password.data, _try)
    except SignInRefused:
        return _refuse(form, "The e-mail address or the password is wrong.", 401)
    except TooManyTries as error:
        return _refuse(form, error.detail, 429, {"Retry-After": str(error.retry_after)})
    if isinstance(found, CodeDue):
        return _ask_for_code(found)
    keep_session(found)
    return redirect(wanted_page(), code=303)


def _try(verified: VerifiedPassword, now: datetime) -> str | CodeDue:
    found = prove_password(verified, now=now)
    if isinstance(found, CodeDue):
        return found
    agent = request.user_agent.string
    return sessions.start_session(found, now=now, address=client_address(), user_agent=agent)


def _ask_for_code(due: CodeDue) -> ResponseReturnValue:
    session.clear()
    session[PENDING_COOKIE_KEY] = due.token
    return redirect(with_wanted_page("dashboard.sign_in_code"), code=303)


def _refuse(
    form: SignInForm, why: str, status: int, headers: dict[str, str] | None = None
) -> ResponseReturnValue:
    form.form_errors.append(why)
    page = render_template("dashboard/sign_in/sign_in.html", form=form)
    return page, status, headers or {}


@dashboard.post("/sign-out")
@access.require(Permission.PROFILE)
def sign_out() -> ResponseReturnValue:
    """End this session."""
    session_id = access.principal().session_id
    if session_id is not None:
        with transaction():
            sessions.revoke_session(session_id, actor=access.actor(), now=datetime.now(UTC))
    session.clear()
    return redirect(url_for("dashboard.sign_in"), code=303)


@dashboard.route("/set-up", methods=["GET", "POST"])
@access.public
def set_up() -> ResponseReturnValue:
    """Create the first administrator; opens with the link that the log shows, once."""
    if has_administrator():
        raise SetUpDone("billtrack is set up. Sign in instead.")
    token = request.args.get("token", "")
    require_setup_token(token)
    form = SetUpForm()
    if not form.validate_on_submit():
        status = 422 if form.is_submitted() else 200
        return render_template("dashboard/sign_in/set_up.html", form=form), status
    try:
        _create_administrator(form, token)
    except (InvalidError, ConflictError) as error:
        show_error(form, error)
        return render_template("dashboard/sign_in/set_up.html", form=form), 422
    flash("The administrator is created. Sign in.", "ok")
    return redirect(url_for("dashboard.sign_in"), code=303)


def _create_administrator(form: SetUpForm, token: str) -> None:
    email, name = form.email.data, form.name.data
    password = hash_first_password(form.password.data, email=email, name=name)
    with transaction():
        # Again inside: of two visitors with the same link only one gets in.
        require_setup_token(token)
        open_account(
            actor=access.actor(),
            now=datetime.now(UTC),
            calendar=current_calendar(),
            email=email,
            name=name,
            role=Role.ADMIN,
            password=password,
        )
        void_setup_token()


def keep_session(token: str) -> None:
    """Put the session's secret id into a new cookie: one that was planted before is worthless."""
    session.clear()
    session.permanent = True
    session[access.SESSION_COOKIE_KEY] = token


def wanted_page() -> str:
    """Return the page of this site that was asked for; never an address elsewhere."""
    wanted = request.args.get("next", "")
    # Browsers read a backslash as a slash, and leave out tabs and line ends.
    is_local = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if is_local and wanted.isprintable() else "/"


def with_wanted_page(endpoint: str, *, recovery: str | None = None) -> str:
    """Return the address of another step of signing in, which leads on to the same page."""
    wanted = wanted_page()
    return url_for(endpoint, recovery=recovery, next=wanted if wanted != "/" else None)
