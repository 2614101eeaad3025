"""Keep secrets out of logs: by the name of a field, and by what a text looks like."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

HIDDEN = "[redacted]"

SECRET_FIELDS = frozenset(
    {
        *("authorization", "proxy_authorization", "cookie", "set_cookie", "sid", "session"),
        *("password", "passwd", "pwd", "password_again", "current_password", "new_password"),
        *(
            "secret",
            "secret_key",
            "old_keys",
            "client_secret",
            "api_key",
            "database_url",
            "redis_url",
            "smtp_url",
        ),
        *("token", "access_token", "refresh_token", "csrf_token", "setup_token", "metrics_token"),
        *("otp", "otp_code", "totp_secret", "recovery_code", "recovery_codes", "id_token"),
        *("private_key", "jwt_key", "jwt_keys"),
    }
)
"""Names of fields, in lower case with underscores, whose values are never shown."""

_LOOKS_SECRET = re.compile(
    r"""
    # A header that carries credentials, to the end of its line.
    (?P<header>(?:proxy-)?authorization|(?:set-)?cookie)(?P<after_header>["']?\s*[:=]\s*)[^\r\n]+
    # name=value, name: value, 'name': 'value': in query strings, DSNs and printed dicts.
    | (?P<name>(?:password|passwd|pwd|secret|secret_key|token|recovery_codes?|api_?key|sid|session)
      ["']?\s*[=:]\s*)
      (?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|(?!//)[^\s&"',;)}\]]+)
    # The password in an address; it may hold an @ or a slash that nobody escaped.
    | (?P<user>://[^\s:/@"']*:)[^\s"']*@
    # What a telephone reads to make codes of a second factor.
    | (?P<factor>otpauth://)[^\s"']+
    | (?P<key>bt_(?:live|refresh)_)[A-Za-z0-9_-]+
    | (?P<scheme>\b(?:bearer|basic)\s+)(?=\S*[\d_.=-])[A-Za-z0-9._~+/=-]{8,}
    # Signed values: a JWT, or the cookie of a session.
    | (?:\beyJ|\.eJ)[\w-]+\.[\w-]+\.[\w-]+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HINTS = (
    *("authorization", "cookie", "password", "passwd", "pwd", "secret", "token", "sid"),
    *(
        "api_key",
        "apikey",
        "session",
        "recovery_code",
        "://",
        "bt_live_",
        "bt_refresh_",
        "bearer",
        "basic",
        "eyj",
        ".ej",
    ),
)
"""Without any of these nothing can match: asked first, it is ten times cheaper."""


def redact(value: Any, name: str = "") -> Any:
    """Return the value of a field without what must not be read in a log."""
    if name and _is_secret(name):
        return HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {key: redact(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(inner) for inner in value]
    text = str(value)
    return _LOOKS_SECRET.sub(_hide, text) if _has_hint(text.lower()) else text


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return name.lower().replace("-", "_") in SECRET_FIELDS


def _has_hint(text: str) -> bool:
    for hint in _HINTS:  # noqa: SIM110 (any() takes three times as long, for every line)
        if hint in text:
            return True
    return False


def _hide(match: re.Match[str]) -> str:
    """Keep what says which secret it was."""
    found = match.groupdict(default="")
    if found["user"]:
        return f"{found['user']}{HIDDEN}@"
    names = ("header", "after_header", "name", "factor", "key", "scheme")
    kept = "".join(found[name] for name in names)
    return f"{kept}{HIDDEN}"
