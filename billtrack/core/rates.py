"""How much may be used in how long: what a setting such as 600/minute says. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from billtrack.core.errors import InvalidError

OFF = "off"
MOST = 10**9
SECONDS = {"second": 1, "minute": 60, "hour": 3600}
_WORDING = re.compile(r"([1-9][0-9]{0,9})/(second|minute|hour)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many at once, which come back evenly within so many seconds."""

    most: int
    seconds: int

    def __str__(self) -> str:
        unit = next(name for name, seconds in SECONDS.items() if seconds == self.seconds)
        return f"{self.most}/{unit}"


def parse_rate(text: str) -> Rate | None:
    """Return the rate that the text names, None for `off`; raises InvalidError for other words."""
    if text == OFF:
        return None
    match = _WORDING.fullmatch(text)
    if match is None or int(match[1]) > MOST:
        raise InvalidError("write a number up to 1000000000 and a unit, such as 600/minute, or off")
    return Rate(int(match[1]), SECONDS[match[2]])
