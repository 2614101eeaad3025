"""What runs inside a rendering process: HTML in, PDF out, nothing fetched from elsewhere."""

from __future__ import annotations

import gc
import os
import tempfile
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from billtrack.process import die_with_parent

if TYPE_CHECKING:
    from weasyprint import CSS
    from weasyprint.text.fonts import FontConfiguration
    from weasyprint.urls import URLFetcher

STATIC = Path(__file__).resolve().parent.parent / "static"
STYLE_SHEETS = ("css/tokens.css", "fonts/print.css", "css/print.css")
"""What every document looks like; a page need not link to them."""


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
    render_pdf("<!doctype html><title>Nothing</title><p>0", "warm-up")
    # What is loaded now stays: collections need not look through it after every document.
    gc.collect()
    gc.freeze()


def render_pdf(html: str, identifier: str) -> bytes:
    """Return the PDF of a complete HTML page; the same page gives the same bytes.

    `identifier` becomes the file's id. Style sheets and fonts come from billtrack's own
    static files; any other address is refused and left out.
    """
    import weasyprint  # noqa: PLC0415 (only rendering processes pay for it)

    looks = _looks()
    page = weasyprint.HTML(
        string=html, base_url=STATIC.as_uri() + "/", url_fetcher=_packaged_files()
    )
    document: bytes = page.write_pdf(
        pdf_identifier=identifier.encode(),
        pdf_tags=True,
        stylesheets=looks.style_sheets,
        font_config=looks.fonts,
    )
    return document


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
    style_sheets = [
        CSS(filename=STATIC / name, font_config=fonts, url_fetcher=_packaged_files())
        for name in STYLE_SHEETS
    ]
    return Looks(style_sheets, fonts)


def _packaged_files() -> URLFetcher:
    from weasyprint.urls import URLFetcher  # noqa: PLC0415

    class PackagedFiles(URLFetcher):  # type: ignore[misc]
        """Opens billtrack's own static files and data written in the page, nothing else."""

        def fetch(self, url: str, headers: dict[str, str] | None = None) -> Any:
            """Return the file; raises ValueError, which leaves out what lies elsewhere."""
            parts = urlsplit(url)
            if parts.scheme == "data":
                return super().fetch(url, headers)
            path = Path(unquote(parts.path)).resolve()
            if parts.scheme != "file" or not path.is_relative_to(STATIC):
                raise ValueError(f"documents are made of packaged files, not {url}")
            return super().fetch(url, headers)

    return PackagedFiles()
