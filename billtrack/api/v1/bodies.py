"""The body of a request as it was meant: unpacked, if it came packed, and never too large."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

from flask import Request
from werkzeug.exceptions import UnsupportedMediaType

from billtrack.core.errors import UnparsableError
from billtrack.platform.request_head import body_limit, too_large

PACKED = frozenset({"gzip", "x-gzip"})
PLAIN = frozenset({"", "identity"})
MAX_MEMBERS = 100
"""How many gzip files may follow each other in a body: what remains is copied for each."""

_WITH_GZIP_HEADER = zlib.MAX_WBITS | 16


class UnknownEncoding(UnsupportedMediaType):
    """The body is packed in a way that is not known here."""

    def get_headers(self, *args: Any, **options: Any) -> list[tuple[str, str]]:
        """Name the encoding that is known beside the usual headers."""
        return [*super().get_headers(*args, **options), ("Accept-Encoding", "gzip")]


def read_body(request: Request) -> bytes:
    """Return the body, unpacked where `Content-Encoding: gzip` says that it is packed.

    Raises RequestEntityTooLarge as soon as more bytes come out than the route takes, before the
    rest is unpacked; UnparsableError for what is no gzip, is cut short, or goes on after its end;
    and UnknownEncoding for any other encoding.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in PACKED | PLAIN:
        raise UnknownEncoding("Send the body as it is, or with Content-Encoding: gzip.")
    body = request.get_data(cache=True)
    if encoding in PLAIN or not body:
        return body
    return b"".join(_unpacked(body, limit=body_limit(request.endpoint)))


def _unpacked(body: bytes, *, limit: int) -> Iterable[bytes]:
    """Yield what each gzip file in the body holds; they count as one, as RFC 1952 has it."""
    left = limit
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(_WITH_GZIP_HEADER)
        try:
            # One byte more than may be: getting it shows that the rest is too large.
            part = member.decompress(body, left + 1)
        except zlib.error as error:
            raise UnparsableError("The body is no gzip, or is damaged. Send it anew.") from error
        left -= len(part)
        if left < 0:
            raise too_large(limit, unpacked=True)
        if not member.eof:
            raise UnparsableError("The gzip of the body is cut short. Send it anew.")
        yield part
        body = member.unused_data
        if not body:
            return
    raise UnparsableError(f"Send at most {MAX_MEMBERS} gzip files, one after the other.")
