"""What `billtrack up` prints of the processes that it runs."""

from __future__ import annotations

import json
import threading
from contextlib import suppress

from billtrack.platform.logs import Format, json_line


class Screen:
    """Whole lines from several threads to standard output.

    As text each comes after its source's name. As JSON a line that is an object stays as it
    is, and any other becomes the event of one.
    """

    def __init__(self, *, width: int, log_format: Format) -> None:
        self._width = width
        self._is_json = log_format == "json"
        self.lock = threading.Lock()

    def say(self, name: str, text: str) -> None:
        """Print one line. A closed terminal is no reason to stop the service."""
        with self.lock, suppress(OSError, ValueError):
            print(self._line(name, text), flush=True)

    def _line(self, name: str, text: str) -> str:
        if not self._is_json:
            return f"{name:<{self._width}} | {text}"
        return text if _is_object(text) else json_line(text, logger=f"billtrack.{name}")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
