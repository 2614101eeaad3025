"""Render PDFs in processes of their own: WeasyPrint holds the interpreter lock for long."""

from __future__ import annotations

import ctypes
import multiprocessing
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as RenderTimeout
from concurrent.futures.process import BrokenProcessPool
from ctypes.util import find_library

import structlog
from pebble import ProcessExpired, ProcessPool

from billtrack.core.errors import BilltrackError, UnavailableError
from billtrack.platform.metrics.counting import count_rendering
from billtrack.presentation.pdf import rendering

log = structlog.get_logger(__name__)

TIME_LIMIT = 120
"""Seconds after which a rendering process is killed."""

LIBRARIES = {
    "pango-1.0": "libpango-1.0-0",
    "pangoft2-1.0": "libpangoft2-1.0-0",
    "harfbuzz-subset": "libharfbuzz-subset0",
}
"""Shared libraries that WeasyPrint loads, by the Debian package that has them."""

FONTS = {"ja": "fonts-noto-cjk", "ko": "fonts-noto-cjk", "zh-cn": "fonts-noto-cjk"}
"""Languages whose fonts are too large to come with billtrack, by the Debian package of them."""


class RenderingTooLong(BilltrackError):
    """The document is larger than can be rendered in the time limit."""

    code = "rendering_too_long"


class RenderingUnavailable(BilltrackError):
    """System packages that PDFs need are missing; the message names them."""

    code = "rendering_unavailable"


class RendererDied(UnavailableError):
    """The rendering process ended without an answer."""

    code = "renderer_died"


def missing_packages() -> Sequence[str]:
    """Return the Debian packages to install before PDFs can be made."""
    return [package for library, package in LIBRARIES.items() if not _loads(library)]


def missing_font_packages() -> Sequence[str]:
    """Return the Debian packages of fonts that some names need; PDFs can be made without them."""
    return sorted({package for language, package in FONTS.items() if not _has_font(language)})


def require_libraries() -> None:
    """Raise RenderingUnavailable, naming the command that helps, when libraries are missing."""
    missing = missing_packages()
    if missing:
        raise RenderingUnavailable(
            f"PDFs need system packages: apt-get install {' '.join(missing)}"
        )


class PdfRenderer:
    """A pool of rendering processes; made lazily, so that forked servers never share one."""

    def __init__(self, *, processes: int) -> None:
        self._processes = processes
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def warm_up(self) -> None:
        """Start the processes before the first document asks for them."""
        require_libraries()
        self._running().schedule(bool)  # asked for anything, the pool starts all its processes
        if missing := missing_font_packages():
            command = f"apt-get install {' '.join(missing)}"
            log.info(
                "fonts_missing", detail=f"Chinese, Japanese and Korean in PDFs need: {command}"
            )

    def render(self, html: str, *, identifier: str) -> bytes:
        """Return the PDF of the page.

        Raises RenderingUnavailable, RenderingTooLong after TIME_LIMIT seconds and
        RendererDied.
        """
        require_libraries()
        result, started = "failed", time.perf_counter()
        try:
            document = self._render(html, identifier)
            result = "rendered"
        finally:
            count_rendering(result=result, seconds=time.perf_counter() - started)
        return document

    def close(self) -> None:
        """Stop the processes at once."""
        with self._lock:
            self._discard()

    def _render(self, html: str, identifier: str) -> bytes:
        try:
            future = self._running().schedule(
                rendering.render_pdf, args=[html, identifier], timeout=TIME_LIMIT
            )
            document: bytes = future.result()
        except RenderTimeout as error:
            raise RenderingTooLong(
                f"The document took more than {TIME_LIMIT} seconds. Choose a shorter period."
            ) from error
        except (ProcessExpired, BrokenProcessPool, CancelledError) as error:
            raise RendererDied("The rendering process ended without an answer.") from error
        return document

    def _discard(self) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _running(self) -> ProcessPool:
        with self._lock:
            # A pool is broken for good when one of its processes is killed while it idles.
            if self._pool is not None and not self._pool.active:
                self._discard()
            if self._pool is None:
                self._folder = tempfile.TemporaryDirectory(prefix="billtrack-fonts-")
                self._pool = ProcessPool(
                    max_workers=self._processes,
                    max_tasks=500,
                    initializer=rendering.start,
                    initargs=[self._folder.name],
                    context=multiprocessing.get_context("spawn"),
                )
            return self._pool


def _loads(library: str) -> bool:
    name = find_library(library)
    if name is None:
        return False
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _has_font(language: str) -> bool:
    command = ["fc-list", f":lang={language}", "family"]
    try:
        found = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 (our words)
    except FileNotFoundError:  # comes with Pango on Debian; elsewhere there is no way to know
        return True
    return bool(found.stdout.strip())
