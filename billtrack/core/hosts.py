"""Under which names billtrack answers. Pure.

A browser can be led here under any name whose owner lets it point here, and then sends what
it would send there; a forged name must not find its way into a link or a cache either. So a
name that anybody in the world may choose has to be known. An address, and a name that means
something on this machine or in this network only, cannot be chosen from afar.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from ipaddress import ip_address

from billtrack.core.errors import InvalidError

RESERVED = (".localhost", ".internal")
"""Endings that nobody can register."""

LONGEST = 253
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?", re.ASCII)
_WITH_PORT = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:\[\]]+?)\.?(?::[0-9]{1,5})?", re.ASCII)


def parse_hosts(text: str) -> frozenset[str]:
    """Return the names in a list with commas; raises InvalidError for what is none."""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if host_name(name) != name:
            raise InvalidError(
                f"write names without scheme and port, such as billing.example.com, not {name}"
            )
    return frozenset(names)


@lru_cache(maxsize=256)
def is_trusted(host: str, known: Collection[str]) -> bool:
    """Tell whether billtrack answers to this `Host` header; `known` are names, in lower case."""
    name = host_name(host)
    if name is None:
        return False
    is_local = "." not in name or name.endswith(RESERVED)
    return name in known or is_local or _is_address(name)


def host_name(host: str) -> str | None:
    """Return the name in a `Host` header, in lower case, without port; None for what is none."""
    match = _WITH_PORT.fullmatch(host.lower()) if len(host) <= LONGEST else None
    if match is None:
        return None
    name = match["name"]
    return name if _is_address(name) or _NAME.fullmatch(name) else None


def _is_address(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
