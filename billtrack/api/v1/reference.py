"""/docs/api: the reference as a page, read from the OpenAPI document."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.api.v1.openapi import document
from billtrack.platform.extensions import current_settings
from billtrack.presentation.api_reference import reference

docs = Blueprint("docs", __name__)


@docs.get("/docs/api")
@access.require(Permission.PROFILE)
def api() -> ResponseReturnValue:
    """Show every call of the API with its fields and an example."""
    base_url = current_settings().public_url
    spec = document()
    return render_template(
        "docs/api.html",
        title=spec["info"]["title"],
        version=spec["info"]["version"],
        base_url=f"{base_url}/api/v1",
        openapi_url=url_for("api.show_openapi"),
        introduction=[
            "Send an API key with every call: Authorization: Bearer bt_live_…",
            "Or sign in with POST /auth/token, and send the access token in place of the key.",
            "Errors are application/problem+json with a stable code; decide by that.",
            "Creating calls take an Idempotency-Key: repeated with it, nothing happens twice.",
        ],
        groups=reference(spec, base_url=base_url),
    )
