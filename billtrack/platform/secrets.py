"""What a secret has to be like, and the one that billtrack makes for itself."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

PLACEHOLDERS = frozenset(
    {
        *("change", "me", "changeme", "changethis", "replace", "replaceme", "this", "please"),
        *("your", "my", "a", "the", "new", "here", "in", "for", "with", "insert", "put", "set"),
        *("secret", "supersecret", "key", "password", "token", "string", "value", "random"),
        *("dev", "development", "prod", "production", "test", "todo", "example", "default"),
        *("billtrack", "flask", "app", "very", "super", "long", "secure", "not", "so"),
    }
)
"""Words of which secrets in examples are made."""

FEWEST_CHARACTERS = 8
"""Different ones; random text of 16 characters has more."""

FEWEST_CHARACTERS_OF_KEYS = 32
"""As many as HMAC-SHA-256 gives back."""

_KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)


def require_random(text: str, length: int) -> None:
    """Refuse what is short, monotonous, or made of known words; raises ValueError."""
    # "change-me-change-me" is no better for being long.
    words = set(re.findall(r"[a-z]+|[0-9]+", text.lower()))
    is_dull = len(set(text)) < FEWEST_CHARACTERS
    if len(text) < length or is_dull or words <= PLACEHOLDERS:
        raise ValueError(f"write at least {length} random characters")


def parse_keys(text: str) -> dict[str, bytes]:
    """Return named keys, in order, from `name:secret` with commas or white space between.

    Raises ValueError for a name that is none or comes twice, and a secret that is too short.
    """
    keys: dict[str, bytes] = {}
    for entry in re.split(r"[,\s]+", text.strip()):
        name, _, secret = entry.partition(":")
        if not _KEY_NAME.fullmatch(name) or name in keys:
            raise ValueError("write name:secret, each name once, with commas between them")
        require_random(secret, FEWEST_CHARACTERS_OF_KEYS)
        keys[name] = secret.encode()
    return keys


def read_or_make(path: Path) -> str:
    """Return the secret that the file holds, or make it once (0600)."""
    if not path.exists():
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        # Of two that start at once the first to link wins, and both read what it wrote.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(unfinished)
        unfinished.unlink()
    return path.read_text(encoding="ascii").strip()
