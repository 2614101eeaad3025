"""The design tokens as paper knows them: light, and as plain values.

WeasyPrint would look up and parse each `var(…)` anew for every element that it lays out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_TOKEN = re.compile(r"--([a-z0-9-]+): ([^;]+);")
_USE = re.compile(r"var\(--([a-z0-9-]+)\)")


def read_tokens(style_sheet: Path) -> Mapping[str, str]:
    """Return the tokens by name; of those that depend on the medium, the first, light value."""
    light = style_sheet.read_text(encoding="utf-8").partition("@media")[0]
    return dict(_TOKEN.findall(light))


def with_values(css: str, tokens: Mapping[str, str]) -> str:
    """Write the values of the tokens in place of their names; raises KeyError for unknown ones."""
    return _USE.sub(lambda use: tokens[use[1]], css)
