"""A network between client and server that is cut where a test wants it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

CHUNK = 4096
AT_ONCE = struct.pack("ii", 1, 0)
"""Closing sends a reset, as a cable that is pulled out is noticed."""


@dataclass(frozen=True)
class Cut:
    """Pass so many bytes of the request, then of the answer, and then nothing more."""

    request: int | None = None
    answer: int | None = None


@dataclass(frozen=True)
class Say:
    """Answer the request with this, instead of asking the server."""

    answer: bytes


Plan = Cut | Say


class Proxy:
    """Passes connections on to a port; the next ones as planned, then all whole."""

    def __init__(self, port: int, plans: Iterable[Plan] = ()) -> None:
        self._target = port
        self.plans = deque(plans)
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            plan = self.plans.popleft() if self.plans else Cut()
            threading.Thread(target=self._serve, args=(client, plan), daemon=True).start()

    def _serve(self, client: socket.socket, plan: Plan) -> None:
        with client:
            if isinstance(plan, Say):
                _read_request(client)
                client.sendall(plan.answer)
                return
            with contextlib.suppress(OSError), socket.socket() as server:
                server.connect(("127.0.0.1", self._target))
                back = threading.Thread(target=_pass, args=(server, client, plan.answer))
                back.start()
                _pass(client, server, plan.request)
                back.join()


def _pass(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    """Pass on what comes, until its end or so many bytes; then end both directions."""
    with contextlib.suppress(OSError):
        while limit is None or limit > 0:
            chunk = source.recv(CHUNK if limit is None else min(CHUNK, limit))
            if not chunk:
                break
            target.sendall(chunk)
            limit = None if limit is None else limit - len(chunk)
        if limit == 0:
            for end in (source, target):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _read_request(client: socket.socket) -> None:
    with client.makefile("rb") as file:
        length = 0
        while (line := file.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        file.read(length)


def canned(status: str, body: bytes = b"", **headers: str) -> Say:
    """Return the plan to answer this and close the connection."""
    named = {"Content-Length": str(len(body)), "Connection": "close", **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{k.replace('_', '-')}: {v}" for k, v in named.items())]
    return Say("\r\n".join([*lines, "", ""]).encode() + body)
