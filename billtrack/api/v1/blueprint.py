"""The blueprint that every resource adds its routes to, and how it reads requests."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from apiflask.schema_adapters import registry
from apiflask.schema_adapters.pydantic import PydanticAdapter
from flask import Request
from pydantic import ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from billtrack.api.v1.bodies import read_body
from billtrack.core.errors import FieldError, InvalidError, UnparsableError
from billtrack.platform.error_responses import field_errors


class InvalidFields(InvalidError):
    """The request is not shaped as its schema says."""

    code = "invalid"


class StrictAdapter(PydanticAdapter):
    """Reads a request exactly as its schema says: no conversions, errors by field.

    An absent body counts as `{}`: what is required is then named as missing.
    """

    def validate_input(self, request: Request, location: str, **_options: Any) -> Any:
        """Return the checked input; raises UnparsableError or InvalidError naming each field."""
        if location == "query":
            return self._checked(lambda: self.model_class.model_validate(_query(request)))
        body = read_body(request)
        if body and not request.is_json:
            raise UnsupportedMediaType("Send JSON with Content-Type: application/json.")
        spellings = getattr(self.model_class, "other_spellings", {})
        model = spellings.get(request.mimetype, self.model_class)
        read = getattr(model, "read_json", model.model_validate_json)
        return self._checked(lambda: read(body or b"{}"))

    def _checked(self, parse: Any) -> Any:
        try:
            return parse()
        except ValidationError as error:
            first, *_ = error.errors(include_url=False, include_context=False, include_input=False)
            if first["type"] == "json_invalid":
                raise UnparsableError(first["msg"]) from error
            raise InvalidFields(
                "The request has invalid fields.", errors=field_errors(error)
            ) from error


registry.register("pydantic", StrictAdapter)

api = APIBlueprint("api", __name__, url_prefix="/api/v1")


def _query(request: Request) -> dict[str, Any]:
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        errors = [FieldError(name, "Send this parameter once.") for name in repeated]
        raise InvalidError("The request has invalid fields.", errors=errors)
    return request.args.to_dict()
