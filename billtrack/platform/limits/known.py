"""Credentials that have let somebody in lately, so that they still may from a bad address.

An office or a proxy is one address. When something behind it sends credentials that nobody
knows, hundreds a second, those who work there go on: what they send is looked up as always.
"""

from __future__ import annotations

import threading
from hashlib import blake2b

MOST = 10_000


class KnownCredentials:
    """Digests of credentials; of the oldest the first is forgotten. Lets nobody in by itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._digests: dict[bytes, None] = {}

    def add(self, credential: str) -> None:
        """Remember that the credential has let somebody in."""
        digest = _digest(credential)
        with self._lock:
            self._digests.pop(digest, None)
            self._digests[digest] = None
            if len(self._digests) > MOST:
                self._digests.pop(next(iter(self._digests)))

    def __contains__(self, credential: str) -> bool:
        return _digest(credential) in self._digests


def _digest(credential: str) -> bytes:
    return blake2b(credential.encode("utf-8", "surrogateescape"), digest_size=16).digest()
