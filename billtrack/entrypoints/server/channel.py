"""The two functions by which an ASGI server hands over a request and takes its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Channel:
    """Both functions, until the request is over.

    Granian ends a connection when nothing refers to them. The frames of an exception may do so
    until the garbage collector runs, so frames are given the channel.
    """

    __slots__ = ("receive", "send")

    def __init__(self, receive: Receive, send: Send) -> None:
        self.receive = receive
        self.send = send

    def close(self) -> None:
        """Let go of both functions."""
        del self.receive, self.send
