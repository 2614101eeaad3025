"""The pool of rendering processes: it refuses, gives up and recovers, but never hangs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from billtrack.presentation.pdf import pdf
from billtrack.presentation.pdf.pdf import (
    PdfRenderer,
    RendererDied,
    RenderingTooLong,
    RenderingUnavailable,
    missing_packages,
)
from billtrack.presentation.pdf.rendering import render_pdf
from tests.scenarios.harness import (
    Running,
    assert_all_end,
    eventually,
    is_alive,
    renderers,
    seconds_at_work,
)

Processes = Callable[[], list[int]]

PAGE = "<html><title>Page</title><body><p>Hello</p></body></html>"
ROW = "<tr><td>1</td><td>2</td><td>3</td></tr>"
START, END = "<html><title>Page</title><body><table>", "</table></body></html>"
ENDLESS = START + ROW * 30_000 + END

RENDER_FOR_EVER = f"""
from billtrack.presentation.pdf.pdf import PdfRenderer
PdfRenderer(processes=1).render({START!r} + {ROW!r} * 30_000 + {END!r}, identifier="test")
"""


@pytest.fixture(scope="module")
def others() -> set[int]:
    """The rendering processes that another file's tests have left to be used again."""
    return set(_children())


@pytest.fixture(scope="module")
def renderer(others: set[int]) -> Iterator[PdfRenderer]:
    renderer = PdfRenderer(processes=1)
    renderer.warm_up()
    yield renderer
    renderer.close()


@pytest.fixture
def processes(others: set[int]) -> Processes:
    """Return a function that lists the rendering processes of this file's pool."""
    return lambda: [pid for pid in _children() if pid not in others]


def _children() -> list[int]:
    """Return the rendering processes of this one, not those of a worker that it started."""
    return [pid for pid in renderers(os.getpid()) if parent(pid) == os.getpid()]


def parent(pid: int) -> int:
    return int(stat(pid)[1])


def stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def test_it_kills_a_rendering_that_takes_too_long(
    renderer: PdfRenderer, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer.render(PAGE, identifier="test")
    before = processes()
    monkeypatch.setattr(pdf, "TIME_LIMIT", 0.5)
    with pytest.raises(RenderingTooLong, match="shorter period"):
        renderer.render(ENDLESS, identifier="test")
    assert_all_end(before)
    monkeypatch.undo()
    assert renderer.render(PAGE, identifier="test").startswith(b"%PDF")


def test_it_says_so_when_a_process_is_killed_at_work_and_goes_on(
    renderer: PdfRenderer, processes: Processes
) -> None:
    renderer.render(PAGE, identifier="test")
    (process,) = processes()
    before = seconds_at_work(process)

    def kill_at_work() -> None:
        eventually(lambda: seconds_at_work(process) > before + 0.2, "work")
        os.kill(process, signal.SIGKILL)

    kill = threading.Thread(target=kill_at_work)
    kill.start()
    with pytest.raises(RendererDied):
        renderer.render(ENDLESS, identifier="test")
    kill.join()
    assert renderer.render(PAGE, identifier="test").startswith(b"%PDF")


def test_a_process_at_work_ends_with_the_worker_that_is_killed() -> None:
    command = [sys.executable, "-c", RENDER_FOR_EVER]
    with Running(command, {"PYTHONPATH": os.pathsep.join(sys.path)}) as worker:
        eventually(lambda: renderers(worker.pid), lambda: worker.text)
        (process,) = renderers(worker.pid)
        # Loading takes less than two seconds: it is in the middle of the document.
        eventually(lambda: seconds_at_work(process) > 2, lambda: worker.text)
        worker.kill9()
        eventually(lambda: not is_alive(process), "end of the process")


def test_it_goes_on_when_a_process_is_killed_while_idle(
    renderer: PdfRenderer, processes: Processes
) -> None:
    renderer.render(PAGE, identifier="test")
    (process,) = processes()
    os.kill(process, signal.SIGKILL)
    eventually(lambda: not is_alive(process), "end of the process")

    def renders() -> bool:
        try:
            return renderer.render(PAGE, identifier="test").startswith(b"%PDF")
        except RendererDied:  # asked for just when the pool found out
            return False

    eventually(renders, "another document")


def test_it_names_the_command_that_brings_missing_libraries(
    renderer: PdfRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing_packages() == []
    # Asks the system for real, for a library that no system has.
    monkeypatch.setitem(pdf.LIBRARIES, "billtrack-nowhere-1.0", "libbilltrack-nowhere-1.0-0")
    sentence = "PDFs need system packages: apt-get install libbilltrack-nowhere-1.0-0"
    for act in (renderer.warm_up, lambda: renderer.render(PAGE, identifier="test")):
        with pytest.raises(RenderingUnavailable, match=sentence):
            act()


def test_documents_are_the_same_whatever_a_process_rendered_before(renderer: PdfRenderer) -> None:
    """Processes keep computed styles; here each document finds them as the first one did."""
    pages = [
        f"<html lang='{lang}'><title>Page</title><body><table><tr class='line tiered'>"
        f"<th>{lang}</th><td class='number' dir='{side}'>7</td></tr></table>"
        f"<{around}><b>x</b> <span class='event event-1'>y</span></{around.split()[0]}>"
        "</body></html>"
        for lang, side, around in [
            ("en", "ltr", "h1"),
            ("ar", "rtl", "p class='legend'"),
            ("en", "rtl", "p class='doc-remark'"),
        ]
    ]
    plain = [render_pdf(page, "same") for page in pages]
    assert len(set(plain)) == len(pages)
    for order in (pages, pages[::-1], pages):
        for page in order:
            assert renderer.render(page, identifier="same") == plain[pages.index(page)]
