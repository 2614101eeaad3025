"""The limit of every route: one that does nothing, served as billtrack is."""

from __future__ import annotations

from wsgiref.types import WSGIEnvironment

from flask import Flask, request
from werkzeug.wrappers import Response

from billtrack.entrypoints.server.adapter import Answer, ServerAdapter
from billtrack.platform.process import die_with_parent
from billtrack.platform.request_head import MAX_BODY

die_with_parent()  # as wsgi.py does: the servers of a bench are killed

app = Flask("empty")
RECORD = {"id": 1, "user_id": 1, "event": "api_calls", "quantity": 1}


@app.post("/api/v1/usage/")
def take() -> tuple[dict[str, object], int]:
    """Read JSON and answer as if it were stored."""
    request.get_json()
    return RECORD, 201


@app.get("/api/v1/usage/<int:record_id>")
def show(record_id: int) -> dict[str, object]:
    """Answer as if it were there."""
    return {**RECORD, "id": record_id}


@app.get("/api/v1/health")
def health() -> Response:
    """Tell that it is up."""
    return Response()


class OpenGate:
    """Reads every body."""

    def prepare(self, environ: WSGIEnvironment) -> None:
        """Leave the request as it is."""

    async def body_limit(self, environ: WSGIEnvironment, length: int | None) -> int:  # noqa: ARG002
        """Return the most that billtrack takes."""
        return MAX_BODY

    def refuse(self, environ: WSGIEnvironment, error: Exception) -> Answer:  # noqa: ARG002
        """Return a bare status; never happens here, and the bench would count it as an error."""
        return "500 Internal Server Error", [], repr(error).encode()


served = ServerAdapter(app.wsgi_app, OpenGate(), body_memory=16 * MAX_BODY)
