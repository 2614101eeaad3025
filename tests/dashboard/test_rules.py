"""The rules for pages find what they are there to find."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response

from billtrack.platform.http import HEADERS
from tests.dashboard import rules
from tests.dashboard.page import Page

GOOD = """<!doctype html>
<html lang="en">
<head><title>Good</title><script src="/static/a.js" defer></script></head>
<body><a class="skip" href="#content">Skip</a><main id="content"><h1>Good</h1><h2>Part</h2>
<form method="post"><input type="hidden" name="csrf_token" value="x">
<label for="a">A</label><input id="a" name="a"><button>Send</button></form>
<table><caption>Table</caption><tbody><tr><th scope="row">1</th><td>2</td></tr></tbody></table>
<svg role="img"><title>Drawing</title></svg><img src="/static/a.png" alt="">
</main></body></html>"""


def page(source: str, **headers: str) -> Page:
    usual = {**HEADERS, "Cache-Control": "no-store", "X-Request-Id": "12345678", **headers}
    answer = Response(source, mimetype="text/html", headers=usual)
    return Page(TestResponse(answer.response, answer.status, answer.headers, None), "/page")  # type: ignore[arg-type]


def test_they_find_nothing_on_a_good_page() -> None:
    rules.check(page(GOOD))


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("<!doctype html>", "", "doctype"),
        (' lang="en"', "", "no language"),
        ("<title>Good</title>", "<title></title>", "<title>"),
        ("<h1>Good</h1>", "<h1>Good</h1><h1>Two</h1>", "2 of <h1>"),
        ("<h2>Part</h2>", "<h3>Part</h3>", "level 3 after 1"),
        ('<a class="skip" href="#content">Skip</a>', "", "skip the navigation"),
        ('id="a" name', 'id="content" name', "id content 2 times"),
        ('name="a"', 'name="a" aria-describedby="b"', "names b"),
        ('name="a"', 'name="a" hx-target="#b"', "hx-target #b"),
        ('<label for="a">A</label>', "", "no label"),
        ("<button>Send</button>", "<button></button>", "an empty <button>"),
        ('value="x"', 'value=""', "no CSRF token"),
        ('<form method="post">', "<form>", "a CSRF token in an address"),
        ("<h1>", '<h1 style="color:red">', "style on <h1>"),
        ("<h1>", '<h1 onclick="x()">', "onclick on <h1>"),
        ("<h1>", '<h1 hx-on:click="x()">', "hx-on:click on <h1>"),
        ('href="#content"', 'href="javascript:x()"', "href=javascript:x()"),
        ("</head>", "<style></style></head>", "<style>"),
        ('<script src="/static/a.js" defer>', "<script>x()", "a script with a body"),
        ("/static/a.js", "https://cdn.example/a.js", "from elsewhere"),
        ("/static/a.png", "//cdn.example/a.png", "src=//cdn.example/a.png"),
        ("<caption>Table</caption>", "", "without a caption"),
        (' scope="row"', "", "without a scope"),
        ("<td>2</td>", "<td>2</td></tr><tr><td>3</td>", "different widths"),
        (' alt=""', "", "a picture without a text"),
        ("<title>Drawing</title>", "", "a drawing without a text"),
        ("<h2>Part</h2>", "<h2>None</h2>", "None"),
        ("</form>", "", "is_well_formed"),
    ],
)
def test_they_find_what_is_wrong(good: str, bad: str, found: str) -> None:
    assert GOOD.count(good) == 1
    with pytest.raises(AssertionError, match="breaks rules") as caught:
        rules.check(page(GOOD.replace(good, bad)))
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Security-Policy", "default-src 'self' 'unsafe-inline'"),
        ("Content-Security-Policy", f"{HEADERS['Content-Security-Policy']}; script-src *"),
        ("X-Content-Type-Options", ""),
        ("Cache-Control", "public"),
        ("X-Request-Id", ""),
    ],
)
def test_they_find_weak_headers(name: str, value: str) -> None:
    with pytest.raises(AssertionError, match="strict_headers"):
        rules.check(page(GOOD, **{name: value}))
