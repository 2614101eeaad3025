"""What must hold of every page: for readers, for machines that read aloud, for safety."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

if TYPE_CHECKING:
    from tests.dashboard.page import Page

SVG = "{http://www.w3.org/2000/svg}"
CONTROLS = {"input", "select", "textarea"}
POLICY = {
    "default-src": "'self'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
REFERENCES = ("for", "aria-describedby", "aria-labelledby", "aria-controls", "list")
SECRET_ADDRESSES = {"/choose-password": "strict-origin"}
"""Pages whose address may hold a secret, and how much of it a request from there tells."""
OWN_PICTURES = {"/settings/second-factor/code.svg"}
"""Pictures that are drawn for who asks."""
HEADINGS = {f"h{level}": level for level in range(1, 7)}


def check(page: Page) -> None:
    """Assert every rule; the message of the assertion lists all that is broken."""
    found = [f"{rule.__name__[1:]}: {problem}" for rule in RULES for problem in rule(page)]
    assert found == [], f"{page.path} breaks rules:\n" + "\n".join(found)


def addresses(page: Page) -> Iterator[str]:
    """Yield what a reader may open from here: links, and forms and fragments that only read."""
    for element in page.root.iter():
        if element.tag == "a" and "href" in element.attrib:
            yield element.attrib["href"]
        if element.tag == "form" and element.get("method", "get").lower() == "get":
            yield element.get("action", page.path)
        if "hx-get" in element.attrib:
            yield element.attrib["hx-get"]


def _is_well_formed(page: Page) -> Iterator[str]:
    _ = page.root
    if not page.source.lower().startswith("<!doctype html>"):
        yield "no doctype"
    for code, data in page.parse_errors:
        if code != "invalid-codepoint":  # what a program sent is given back as it was
            yield f"{code} {data}"


def _has_a_frame(page: Page) -> Iterator[str]:
    if not page.root.get("lang"):
        yield "no language"
    for tag in ("title", "h1", "main"):
        found = page.all(tag)
        if len(found) != 1 or not "".join(found[0].itertext()).strip():
            yield f"{len(found)} of <{tag}>, or it is empty"
    levels = [HEADINGS[e.tag] for e in page.root.iter() if e.tag in HEADINGS]
    yield from (
        f"a heading of level {this} after {before}"
        for before, this in pairwise(levels)
        if this > before + 1
    )
    if page.all("a", class_="skip", href="#content") == []:
        yield "no link to skip the navigation"


def _names_things_once(page: Page) -> Iterator[str]:
    ids = Counter(e.attrib["id"] for e in page.root.iter() if "id" in e.attrib)
    yield from (f"id {name} {count} times" for name, count in ids.items() if count > 1)
    for element in page.root.iter():
        for attribute in REFERENCES:
            for name in element.get(attribute, "").split():
                if name not in ids:
                    yield f"{attribute} names {name}, which is not there"
        target = element.get("hx-target", "")
        if target.startswith("#") and target[1:] not in ids:
            yield f"hx-target {target} is not there"


def _labels_every_control(page: Page) -> Iterator[str]:
    labelled = {label.get("for") for label in page.all("label")}
    wrapped = {id(e) for label in page.all("label") for e in label.iter()}
    for element in page.root.iter():
        if element.tag not in CONTROLS or element.get("type") in {"hidden", "submit"}:
            continue
        named = element.get("id") in labelled or id(element) in wrapped
        if not named and not element.get("aria-label"):
            yield f"no label: {element.attrib}"
    for tag in ("button", "a", "label", "option", "th", "summary", "caption"):
        for element in page.all(tag):
            if not _text(element) and not element.get("aria-label"):
                yield f"an empty <{tag}>: {element.attrib}"


def _protects_every_form(page: Page) -> Iterator[str]:
    for form in page.all("form"):
        is_post = form.get("method", "get").lower() == "post"
        tokens = [e for e in form.iter("input") if e.get("name") == "csrf_token"]
        if is_post and not (len(tokens) == 1 and tokens[0].get("value")):
            yield f"no CSRF token: {form.attrib}"
        if not is_post and tokens:
            yield f"a CSRF token in an address: {form.attrib}"


def _has_nothing_inline(page: Page) -> Iterator[str]:
    for element in page.root.iter():
        for name, value in element.attrib.items():
            if name == "style" or name.startswith(("on", "hx-on")):
                yield f"{name} on <{element.tag}>"
            if value.strip().lower().startswith(("javascript:", "data:")):
                yield f"{name}={value}"
    if page.all("style"):
        yield "<style>"
    yield from (
        f"a script with a body or from elsewhere: {script.attrib}"
        for script in page.all("script")
        if _text(script) or not script.get("src", "").startswith("/static/")
    )


def _has_strict_headers(page: Page) -> Iterator[str]:
    headers = page.answer.headers
    parts = [part.split(maxsplit=1) for part in headers["Content-Security-Policy"].split(";")]
    if dict(parts) != POLICY:
        yield headers["Content-Security-Policy"]
    for name, value in (
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", SECRET_ADDRESSES.get(page.path.partition("?")[0], "same-origin")),
        ("Cache-Control", "no-store"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ):
        if headers.get(name) != value:
            yield f"{name}: {headers.get(name)}"
    if not re.fullmatch(r"[A-Za-z0-9._-]{8,64}", headers.get("X-Request-Id", "")):
        yield "no request id"


def _loads_only_its_own_files(page: Page) -> Iterator[str]:
    for element in page.root.iter():
        is_link = element.tag in {"a", "form"}
        for name in ("src", "srcset", "href", "data", "poster", "action"):
            value = element.get(name)
            if value is None or (is_link and name != "src"):
                continue
            if not value.startswith("/static/") and value not in OWN_PICTURES:
                yield f"{name}={value}"


def _describes_tables_and_pictures(page: Page) -> Iterator[str]:
    for table in page.all("table"):
        if len(table) == 0 or table[0].tag != "caption":
            yield "a table without a caption"
        yield from (f"a head cell without a scope: {_text(th)}" for th in table.iter("th")
                    if th.get("scope") not in {"row", "col"})  # fmt: skip
        widths = {sum(int(cell.get("colspan", "1")) for cell in row) for row in table.iter("tr")}
        if len(widths) > 1:
            yield f"rows of different widths: {widths}"
    for image in page.all("img"):
        if "alt" not in image.attrib:
            yield f"a picture without a text: {image.attrib}"
    for svg in page.all(f"{SVG}svg"):
        title = svg.find(f"{SVG}title")
        told = svg.get("role") == "img" and title is not None and _text(title)
        if svg.get("aria-hidden") != "true" and not told:
            yield f"a drawing without a text: {svg.attrib}"


def _shows_no_machinery(page: Page) -> Iterator[str]:
    """Values that reached the page unformatted."""
    text = " ".join(page.root.itertext())
    for wrong in ("None", "Undefined", "datetime.", "Decimal(", "<class", "{{", "{%", "nan"):
        if re.search(rf"(?<!\w){re.escape(wrong)}(?!\w)", text):
            yield wrong


def _text(element: Element) -> str:
    return "".join(element.itertext()).strip()


RULES = (
    _is_well_formed,
    _has_a_frame,
    _names_things_once,
    _labels_every_control,
    _protects_every_form,
    _has_nothing_inline,
    _has_strict_headers,
    _loads_only_its_own_files,
    _describes_tables_and_pictures,
    _shows_no_machinery,
)
