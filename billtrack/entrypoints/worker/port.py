"""A worker that runs alone tells on a port of its own that it lives, and what it has counted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

OPEN_PATHS = frozenset({"/metrics", "/api/v1/health/live"})
"""What of the web a worker answers, too; each guards itself as it does there."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerOnIPv6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name)
        """Leave it to the application, which logs as JSON where that is asked for."""


def serve_worker_port(application: WSGIApplication, *, host: str, port: int) -> WSGIServer:
    """Answer in a thread of its own until `shutdown`; raises OSError for a taken port."""
    kind = _ServerOnIPv6 if ":" in host else _Server
    server = make_server(host, port, _only_open_paths(application), kind, _Quiet)
    threading.Thread(target=server.serve_forever, name="port", daemon=True).start()
    return server


def _only_open_paths(application: WSGIApplication) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in OPEN_PATHS:
            return application(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return [b""]

    return answer
