"""Who counts as one where requests are counted by address. Pure."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

_NETWORK_BITS = 64
"""Of an IPv6 address: who has one has all that begin with these."""


@lru_cache(maxsize=1024)
def network_of(address: str | None) -> str:
    """Return the address, of IPv6 the network that it belongs to; empty where it is unknown."""
    if address is None:
        return ""
    parsed = ip_address(address)
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> (128 - _NETWORK_BITS):x}/{_NETWORK_BITS}"
