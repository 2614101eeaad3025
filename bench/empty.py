"""The limit of every route: one that does nothing, served as billtrack is."""

from __future__ import annotations

from flask import Flask, request
from werkzeug.wrappers import Response

from billtrack.entrance import Entrance
from billtrack.process import die_with_parent

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


served = Entrance(app.wsgi_app, None)
