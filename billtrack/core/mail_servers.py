"""Addresses of mail servers and senders, as settings give them."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.headerregistry import Address
from email.utils import parseaddr
from ipaddress import ip_address
from typing import Literal, Self
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from billtrack.core.errors import InvalidError

PORTS = {"smtp": 587, "smtps": 465}
HOW_TO = "write an address such as smtp://user:password@mail.example.com:587"


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where letters are handed in, and how the way there is kept secret.

    `tls` from the first byte, by STARTTLS before anything is said, or not at all.
    """

    host: str
    port: int
    tls: Literal["at_once", "starttls", "never"]
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read smtps://… (TLS) or smtp://… (STARTTLS, but for this very machine).

        `?starttls=no` is for a network that can be trusted. A password goes nowhere without
        TLS. Raises InvalidError, which never repeats the password.
        """
        parts, port = _split(url)
        options = parse_qs(parts.query)
        host, scheme = parts.hostname or "", parts.scheme
        if scheme not in PORTS or not host or parts.path.strip("/") or parts.fragment:
            raise InvalidError(HOW_TO)
        if options not in ({}, {"starttls": ["no"]}) or (options and scheme == "smtps"):
            raise InvalidError("the only thing to add is ?starttls=no, to smtp://")
        is_open = scheme == "smtp" and (bool(options) or is_loopback(host))
        if parts.username and is_open and not is_loopback(host):
            raise InvalidError("a password is not sent without TLS: leave out ?starttls=no")
        return cls(
            host=host,
            port=port or PORTS[scheme],
            tls="at_once" if scheme == "smtps" else "never" if is_open else "starttls",
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or "") if parts.username else None,
        )


def is_loopback(host: str) -> bool:
    """Tell whether the host is this machine, so that nobody listens on the way."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_sender(text: str) -> Address:
    """Return name and address of a sender such as `Billing <billing@example.com>`.

    Raises InvalidError.
    """
    name, address = parseaddr(text)
    local, _, domain = address.rpartition("@")
    if not text.isprintable() or "=?" in text or not local or not domain or not address.isascii():
        raise InvalidError("write a sender such as Billing <billing@example.com>")
    return Address(display_name=name, username=local, domain=domain)


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError as error:
        raise InvalidError(HOW_TO) from error
