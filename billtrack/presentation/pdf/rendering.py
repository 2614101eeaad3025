"""What runs inside a rendering process: HTML in, PDF out, nothing fetched from elsewhere."""

from __future__ import annotations

import gc
import os
import re
import tempfile
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

from billtrack.platform.process import die_with_parent, settle
from billtrack.presentation.pdf.styles import share_styles
from billtrack.presentation.pdf.tokens import read_tokens, with_values

if TYPE_CHECKING:
    from weasyprint import CSS, HTML
    from weasyprint.text.fonts import FontConfiguration
    from weasyprint.urls import URLFetcher

STATIC = Path(__file__).resolve().parents[2] / "static"
GARBAGE = 100_000
"""Objects that may lie about before they are collected: what a long page leaves, some 50 MB."""

STYLE_SHEETS = ("fonts/print.css", "css/print.css")
"""What every document looks like; a page need not link to them."""

TOKENS = STATIC / "css" / "tokens.css"
"""The colours that the style sheets name."""

NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that no XML document may have, escaped or not; nothing of them is seen anyway."""


class Looks(NamedTuple):
    """The style sheets, parsed, and the fonts that they name, unpacked."""

    style_sheets: list[CSS]
    fonts: FontConfiguration


def start(folder: str) -> None:
    """Begin a rendering process: load what it needs, so that no document waits for it.

    Its unpacked fonts lie in `folder`, which outlives the process: one that is killed
    could not clear them away.
    """
    die_with_parent()
    tempfile.tempdir = folder
    share_styles()
    render_pdf("<html><head><title>Nothing</title></head><body>0</body></html>", "warm-up")
    # What is loaded now stays: collections need not look through it, and need not come
    # many times within a document.
    settle()
    gc.set_threshold(GARBAGE)


def render_pdf(html: str, identifier: str) -> bytes:
    """Return the PDF of a complete page in XHTML; the same page gives the same bytes.

    `identifier` becomes the file's id. Style sheets and fonts come from billtrack's own
    static files; any other address is refused and left out. Raises ElementTree.ParseError
    for a page that is not well-formed.
    """
    looks = _looks()
    document: bytes = _page(html).write_pdf(
        pdf_identifier=identifier.encode(),
        pdf_tags=True,
        stylesheets=looks.style_sheets,
        font_config=looks.fonts,
    )
    return document


def _page(html: str) -> HTML:
    """Parse the page as XML: reading it as HTML takes an eighth of the time of a document."""
    import weasyprint  # noqa: PLC0415 (only rendering processes pay for it)
    from cssselect2 import ElementWrapper  # noqa: PLC0415

    class Page(weasyprint.HTML):  # type: ignore[misc]
        """A page that is a tree already."""

        def __init__(self, root: ET.Element) -> None:
            self.base_url = STATIC.as_uri() + "/"
            self.url_fetcher = _packaged_files()
            self.media_type = "print"
            self.wrapper_element = ElementWrapper.from_html_root(root, content_language=None)
            self.etree_element = root

    return Page(ET.fromstring(NOT_XML.sub("", html)))  # noqa: S314 (our own page)


@cache
def _looks() -> Looks:
    """Parse and unpack once a process: it takes longer than most documents."""
    from weasyprint import CSS  # noqa: PLC0415
    from weasyprint.text.fonts import FontConfiguration  # noqa: PLC0415

    # An unpacked font says when that was, in every document: always the same instant then.
    os.environ["SOURCE_DATE_EPOCH"] = "0"

    class PackagedFonts(FontConfiguration):  # type: ignore[misc]
        """Clears its folder away when told: at the interpreter's own end, rmtree is gone."""

        def __del__(self) -> None:
            """Leave the folder to whoever ends the process."""

    fonts = PackagedFonts()
    # Else a process that ends in peace would leave its fonts behind, too.
    Finalize(None, FontConfiguration.__del__, args=(fonts,), exitpriority=1)
    tokens = read_tokens(TOKENS)
    style_sheets = [
        CSS(
            string=with_values((STATIC / name).read_text(encoding="utf-8"), tokens),
            base_url=(STATIC / name).as_uri(),
            font_config=fonts,
            url_fetcher=_packaged_files(),
        )
        for name in STYLE_SHEETS
    ]
    return Looks(style_sheets, fonts)


def _packaged_files() -> URLFetcher:
    from weasyprint.urls import URLFetcher  # noqa: PLC0415

    class PackagedFiles(URLFetcher):  # type: ignore[misc]
        """Opens billtrack's own static files, nothing else."""

        def fetch(self, url: str, headers: dict[str, str] | None = None) -> Any:
            """Return the file; raises ValueError, which leaves out what lies elsewhere."""
            parts = urlsplit(url)
            path = Path(unquote(parts.path)).resolve()
            if parts.scheme != "file" or not path.is_relative_to(STATIC):
                raise ValueError(f"documents are made of packaged files, not {url}")
            return super().fetch(url, headers)

    return PackagedFiles()
