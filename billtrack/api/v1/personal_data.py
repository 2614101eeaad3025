"""/users/:id/export and /users/:id/erase: hand out what is held about a person, or erase it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from flask import Response, stream_with_context
from pydantic import ConfigDict, Field

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.accounts.users.queries import get_user
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.schemas import Body
from billtrack.api.v1.users import UserOut, user_json
from billtrack.core.errors import InvalidError
from billtrack.platform.db import transaction
from billtrack.platform.limits import Budget
from billtrack.privacy.erasure import erase_account
from billtrack.privacy.export import export_disposition, note_export, stream_export
from billtrack.usage.ingest.fields import PlainText

ZIP = "application/zip"
_ANSWERS: dict[int | str, dict[str, str | dict[str, dict[str, Any]]]] = {
    200: {
        "description": "A ZIP of JSON files",
        "content": {ZIP: {"schema": {"contentMediaType": ZIP, "description": "The file"}}},
    }
}


class Erasure(Body):
    """Which account is meant, once more."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "kiln@example.com"}]})

    email: Annotated[
        PlainText,
        Field(min_length=3, max_length=254, description="The address of the account as it is."),
    ]


@api.post("/users/<id:user_id>/export")
@access.require(Permission.USERS_EXPORT, budget=Budget.REPORTS)
@api.doc(responses=_ANSWERS)
def export_user(user_id: int) -> Response:
    """Hand out all that is held about a person, as a ZIP of JSON files.

    The audit log notes it. Administrators export every account, all others their own.
    """
    now, reach = datetime.now(UTC), access.reach(Permission.USERS_EXPORT)
    with transaction():
        note_export(user_id, actor=access.actor(), reach=reach, now=now)
    response = Response(stream_with_context(stream_export(user_id, now=now)), mimetype=ZIP)
    response.headers["Content-Disposition"] = export_disposition(user_id, now=now)
    return response


@api.post("/users/<id:user_id>/erase")
@access.require(Permission.USERS_ERASE)
@api.input(Erasure)
@api.output(UserOut)
@api.doc(
    responses={
        403: "The permission is lacking. An API key erases customers only",
        409: "It is the account that asks, or the only administrator",
    }
)
def erase_user(user_id: int, json_data: Erasure) -> dict[str, Any]:
    """Erase the personal data of an account for ever; usage and bills stay. Again changes nothing.

    Name and address become neutral markers, sessions, keys and links end, and no usage is
    accepted any more. Files and free text in usage records follow within minutes.
    """
    by: dict[str, Any] = {"reach": access.reach(Permission.USERS_ERASE)}
    with transaction():
        user = get_user(user_id, **by)
        if not user.is_erased and json_data.email.strip().lower() != user.email:
            raise InvalidError.at("email", "This is not the address of the account.")
        user = erase_account(user_id, actor=access.actor(), now=datetime.now(UTC), **by)
    return user_json(user)
