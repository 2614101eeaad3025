"""The WSGI environ (PEP 3333) of an ASGI request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIEnvironment

from werkzeug.wsgi import FileWrapper

from billtrack.platform.request_head import HEADER_FAULT, header_fault

Scope = dict[str, Any]

CHUNK = 64 * 1024
"""Bytes of a file that are sent at a time."""


def make_environ(scope: Scope) -> WSGIEnvironment:
    """Return the environ of a request, with an empty body.

    Values keep every byte that was sent, as latin-1. The first header that cannot be read is
    noted under HEADER_FAULT. Names with an underscore are left out: they would read like those
    with a dash.
    """
    server, client = scope["server"], scope["client"]
    environ: WSGIEnvironment = {
        **_SAME,
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": _plain_host(server[0]),
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": _plain_host(client[0]),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(),
    }
    for name, value in scope["headers"]:
        key = _key_of(name)
        if not key:
            continue
        text, repeated, is_ascii = value.decode("latin-1"), key in environ, value.isascii()
        if repeated or not is_ascii:
            fault = header_fault(key, repeated=repeated, is_ascii=is_ascii)
            environ[HEADER_FAULT] = environ[HEADER_FAULT] or fault
        if repeated:
            text = environ[key] + (";" if key == "HTTP_COOKIE" else ",") + text
        environ[key] = text
    return environ


def _plain_host(name: str) -> str:
    """Return an address without the brackets of IPv6."""
    return name.removeprefix("[").removesuffix("]")


def _wrap_file(file: BinaryIO, _size: int = CHUNK) -> Iterator[bytes]:
    return FileWrapper(file, CHUNK)


_SAME: WSGIEnvironment = {
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "Granian",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
    "wsgi.file_wrapper": _wrap_file,
    HEADER_FAULT: None,
}


@lru_cache(maxsize=1000)
def _key_of(name: bytes) -> str:
    """Return how the environ names a header, an empty text for one that it does not know."""
    if b"_" in name:
        return ""
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
