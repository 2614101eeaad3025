"""The style guide: every component in its states on one page, for those who build billtrack."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, render_template, send_file, url_for
from flask.typing import ResponseReturnValue

import billtrack
from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission, Role, grantable_scopes
from billtrack.dashboard.settings.api_keys.forms import ApiKeyForm
from billtrack.dashboard.settings.forms import PasswordForm, ProfileForm
from billtrack.presentation.lines import sparkline
from tests.styleguide import samples

HERE = Path(__file__).parent
TOKENS = Path(billtrack.__file__).parent / "static" / "css" / "tokens.css"

guide = Blueprint("styleguide", __name__, template_folder=str(HERE))


def add_styleguide(app: Flask) -> None:
    """Add the page to an application of the tests."""
    app.register_blueprint(guide)


@guide.get("/styleguide")
@access.require(Permission.PROFILE)
def show() -> ResponseReturnValue:
    """Show the components with made-up content."""
    return render_template(
        "styleguide.html",
        colours=_colours(),
        meters=samples.meters().values(),
        bars=samples.bars(),
        line=samples.line(),
        curves=samples.curves(),
        spark=sparkline(samples.BY_DAY, title="Cost by day, 59 to 41"),
        statement=samples.statement(),
        jobs=samples.jobs(),
        tabs=_choices("Profile", "Sessions", "API keys"),
        presets=_choices("This month", "Last month", "12 months"),
        now=samples.NOW,
        **_forms(),
    )


@guide.get("/static/css/styleguide.css")
@access.require(Permission.PROFILE)
def style() -> ResponseReturnValue:
    """Send what only this page needs."""
    return send_file(HERE / "styleguide.css")


def _colours() -> list[str]:
    light = TOKENS.read_text(encoding="utf-8").partition("@media")[0]
    return re.findall(r"--([a-z0-9-]+): #", light)


def _choices(*labels: str) -> list[dict[str, Any]]:
    href = url_for("styleguide.show")
    return [{"label": one, "href": href, "active": one == labels[0]} for one in labels]


def _forms() -> dict[str, Any]:
    plain = ProfileForm(formdata=None, prefix="plain-", data={"name": "Mara Lindqvist"})
    wrong = PasswordForm(formdata=None)
    wrong.password.errors = ["Choose a password of 12 to 256 characters."]
    wrong.form_errors.append("Something is wrong with the form as a whole.")
    boxes = ApiKeyForm(
        None, prefix="boxes-", scopes=grantable_scopes(Role.CUSTOMER), now=samples.NOW
    )
    return {"plain": plain, "wrong": wrong, "boxes": boxes}
