"""Settings: one's own profile and password, and the browsers that are signed in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import flash, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access, login_attempts
from billtrack.accounts.credentials import tokens
from billtrack.accounts.sign_in import password_changes, sessions
from billtrack.accounts.sign_in.second_factor import find_second_factor
from billtrack.accounts.sign_in.throttle import NewPassword, TooManyTries
from billtrack.accounts.users import operations, queries
from billtrack.accounts.users.models import TokenFamily, User, UserSession
from billtrack.accounts.users.passwords import hash_password
from billtrack.accounts.users.permissions import Permission
from billtrack.core.errors import InvalidError
from billtrack.dashboard.settings.forms import PasswordForm, ProfileForm
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.forms import show_error, show_refusal
from billtrack.platform.db import transaction
from billtrack.presentation.browsers import browser_name

SECTIONS = (
    ("Profile", "dashboard.profile", Permission.PROFILE),
    ("Sessions", "dashboard.sessions_page", Permission.PROFILE),
    ("API keys", "dashboard.api_keys", Permission.API_KEYS_READ),
    ("Accounts", "dashboard.accounts", Permission.USERS_WRITE),
    ("Audit log", "dashboard.audit_log", Permission.AUDIT_READ),
    ("System health", "dashboard.system_health", Permission.SETTINGS_READ),
)


def render_section(template: str, endpoint: str, **context: Any) -> str:
    """Render a section under the tabs of those that the account may open."""
    may = access.principal().may
    tabs = [
        {"label": label, "href": url_for(section), "active": section == endpoint}
        for label, section, permission in SECTIONS
        if may(permission)
    ]
    return render_template(f"dashboard/settings/{template}.html", tabs=tabs, **context)


@dashboard.get("/settings")
@access.require(Permission.PROFILE)
def settings() -> ResponseReturnValue:
    """Go to the first section."""
    return redirect(url_for("dashboard.profile"), code=303)


@dashboard.get("/settings/profile")
@access.require(Permission.PROFILE)
def profile() -> ResponseReturnValue:
    """Show name, address and the form for another password."""
    return _profile(_profile_form(), PasswordForm(formdata=None))


@dashboard.post("/settings/profile")
@access.require(Permission.PROFILE)
def change_profile() -> ResponseReturnValue:
    """Change one's own name or address."""
    form = ProfileForm()
    try:
        if form.validate():
            _save(form)
            flash("Your profile is saved.", "ok")
            return redirect(url_for("dashboard.profile"), code=303)
    except operations.EmailTaken as error:
        form.email.errors = [error.detail]
    except InvalidError as error:
        show_error(form, error)
    return _profile(form, PasswordForm(formdata=None)), 422


@dashboard.post("/settings/password")
@access.require(Permission.PROFILE)
def change_password() -> ResponseReturnValue:
    """Set another password; every other browser has to sign in again."""
    form = PasswordForm()
    try:
        if form.validate():
            _set_password(form)
            flash("Your password is changed. Every other browser is signed out.", "ok")
            return redirect(url_for("dashboard.profile"), code=303)
    except (InvalidError, TooManyTries) as error:
        status, headers = show_refusal(form, error)
        return _profile(_profile_form(), form), status, headers
    return _profile(_profile_form(), form), 422


@dashboard.get("/settings/sessions")
@access.require(Permission.PROFILE)
def sessions_page() -> ResponseReturnValue:
    """List the browsers in which one is signed in."""
    now, who = datetime.now(UTC), access.principal()
    found = sessions.list_sessions(who.user_id, now=now)
    rows = [_session_view(row, who.session_id) for row in found]
    rows.sort(key=lambda row: not row["is_this"])
    programs = [_program_view(family) for family in tokens.list_families(who.user_id, now=now)]
    return render_section("sessions", "dashboard.sessions_page", sessions=rows, programs=programs)


@dashboard.post("/settings/sessions/<id:session_id>/revoke")
@access.require(Permission.PROFILE)
def revoke_session(session_id: int) -> ResponseReturnValue:
    """Sign one browser out."""
    with transaction():
        sessions.revoke_own_session(
            session_id,
            user_id=access.principal().user_id,
            actor=access.actor(),
            now=datetime.now(UTC),
        )
    flash("That browser is signed out.", "ok")
    return redirect(url_for("dashboard.sessions_page"), code=303)


@dashboard.post("/settings/programs/<id:family_id>/revoke")
@access.require(Permission.PROFILE)
def revoke_program(family_id: int) -> ResponseReturnValue:
    """Sign one program out."""
    with transaction():
        tokens.revoke_own_family(
            family_id,
            user_id=access.principal().user_id,
            actor=access.actor(),
            now=datetime.now(UTC),
        )
    flash("That program is signed out.", "ok")
    return redirect(url_for("dashboard.sessions_page"), code=303)


@dashboard.post("/settings/sessions/revoke-others")
@access.require(Permission.PROFILE)
def revoke_other_sessions() -> ResponseReturnValue:
    """Sign out everywhere but here."""
    who = access.principal()
    with transaction():
        ended = sessions.revoke_other_sessions(
            who.user_id, keep=who.session_id, actor=access.actor(), now=datetime.now(UTC)
        )
    other = "1 other sign-in has" if ended == 1 else f"{ended} other sign-ins have"
    flash(f"{other} ended." if ended else "There was no other sign-in.", "ok")
    return redirect(url_for("dashboard.sessions_page"), code=303)


@dashboard.post("/settings/sessions/revoke-all")
@access.require(Permission.PROFILE)
def revoke_all_sessions() -> ResponseReturnValue:
    """Sign out everywhere, here as well."""
    with transaction():
        sessions.revoke_other_sessions(
            access.principal().user_id, keep=None, actor=access.actor(), now=datetime.now(UTC)
        )
    session.clear()
    flash("You are signed out everywhere.", "ok")
    return redirect(url_for("dashboard.sign_in"), code=303)


def _profile(profile_form: ProfileForm, password_form: PasswordForm) -> str:
    user = _me()
    return render_section(
        "profile",
        "dashboard.profile",
        profile_form=profile_form,
        password_form=password_form,
        role=access.principal().role.value,
        since=user.created_at,
        user_id=user.id,
        has_second_factor=find_second_factor(user.id) is not None,
    )


def _profile_form() -> ProfileForm:
    return ProfileForm(formdata=None, obj=_me())


def _me() -> User:
    return queries.get_user(access.principal().user_id, reach=access.reach(Permission.PROFILE))


def _save(form: ProfileForm) -> None:
    with transaction():
        operations.update_user(
            access.principal().user_id,
            actor=access.actor(),
            reach=access.reach(Permission.PROFILE),
            now=datetime.now(UTC),
            name=form.name.data,
            email=form.email.data,
        )


def _set_password(form: PasswordForm) -> None:
    who, me = access.principal(), _me()
    about = (me.email, me.name)
    login_attempts.count_password(NewPassword.CHANGE, account_id=who.user_id)
    verified = login_attempts.attempt_password(me, form.current_password.data)
    password = hash_password(form.password.data, about=about)
    with transaction():
        token = password_changes.change_password(
            verified,
            session_id=who.session_id,
            password=password,
            actor=access.actor(),
            now=datetime.now(UTC),
        )
    session[access.SESSION_COOKIE_KEY] = token


def _program_view(family: TokenFamily) -> dict[str, Any]:
    return {
        "id": family.id,
        "name": family.user_agent or "An unknown program",
        "address": family.address,
        "created_at": family.created_at,
        "renewed_at": family.renewed_at,
        "expires_at": family.expires_at,
    }


def _session_view(row: UserSession, this_id: int | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "browser": browser_name(row.user_agent),
        "user_agent": row.user_agent,
        "address": row.address,
        "created_at": row.created_at,
        "seen_at": row.seen_at,
        "is_this": row.id == this_id,
    }
