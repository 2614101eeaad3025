"""What a rendering process does with a page: nothing is fetched from elsewhere."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from io import BytesIO
from xml.etree import ElementTree as ET

import pytest
from pypdf import PdfReader

from billtrack.presentation.pdf.rendering import STATIC, render_pdf

PAGE = (
    '<!DOCTYPE html><html lang="en"><head><title>Page</title>{head}</head>'
    "<body><p>Hello {body}</p></body></html>"
)


class Listener:
    """A real server on this machine that notes who connects."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.mark.parametrize(
    "markup",
    [
        '<img src="http://{address}/x.png" />',
        '<img src="//{address}/x.png" />',
        '<img src="ftp://{address}/x.png" />',
        '<object data="http://{address}/x.svg"></object>',
        '<link rel="stylesheet" href="http://{address}/x.css" />',
        '<link rel="attachment" href="http://{address}/x.txt" />',
        '<style>@import "http://{address}/x.css";</style>',
        "<style>@font-face {{ font-family: x; src: url(http://{address}/f) }}</style>",
        '<style>p {{ background: url("http://{address}/x.png") }}</style>',
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="http://{address}/x.png"/></svg>',
    ],
)
def test_it_connects_to_nobody(listener: Listener, markup: str) -> None:
    wanted = markup.format(address=listener.address)
    for page in (PAGE.format(head=wanted, body=""), PAGE.format(head="", body=wanted)):
        document = PdfReader(BytesIO(render_pdf(page, "test")))
        assert "Hello" in document.pages[0].extract_text()
    assert listener.connections == 0


@pytest.mark.parametrize("place", ["{secret}", "css/../../{name}", "{static}/../{name}"])
def test_it_reads_no_other_file(place: str) -> None:
    secret = STATIC.parent / "entrypoints" / "app.py"
    address = place.format(secret=secret.as_uri(), name=secret.name, static=STATIC.as_uri())
    page = PAGE.format(head=f'<link rel="attachment" href="{address}" />', body="")
    document = PdfReader(BytesIO(render_pdf(page, "test")))
    assert document.attachments == {}


@pytest.mark.parametrize(
    "address",
    [
        "data:text/plain,x",
        "data:text/plain;base64,eA==",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
    ],
)
def test_it_takes_no_data_and_no_file_from_elsewhere(address: str) -> None:
    page = PAGE.format(head=f'<link rel="attachment" href="{address}" />', body="")
    document = PdfReader(BytesIO(render_pdf(page, "test")))
    assert document.attachments == {}


def test_it_reads_the_packaged_files() -> None:
    page = PAGE.format(head='<link rel="attachment" href="css/print.css" />', body="")
    document = PdfReader(BytesIO(render_pdf(page, "test")))
    (content,) = document.attachments["print.css"]
    assert content == (STATIC / "css" / "print.css").read_bytes()


@pytest.mark.parametrize("character", ["\0", "\x0b", "\x1f", "\ud83d", "\ufffe"])
def test_it_leaves_out_characters_that_no_page_may_have(character: str) -> None:
    page = PAGE.format(head="", body=f"Ad{character}a")
    text = PdfReader(BytesIO(render_pdf(page, "test"))).pages[0].extract_text()
    assert "Hello Ada" in text


def test_it_reads_elements_as_they_are_closed() -> None:
    """What a name could do that is not escaped shows as an error, not as a page."""
    with pytest.raises(ET.ParseError):
        render_pdf(PAGE.format(head="", body="<b>Ada"), "test")
