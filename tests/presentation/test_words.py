"""Browsers and sizes in words."""

from __future__ import annotations

import pytest

from billtrack.presentation.browsers import browser_name
from billtrack.presentation.sizes import file_size

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9)"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (f"{WINDOWS} Gecko/20100101 Firefox/140.0", "Firefox on Windows"),
        (f"{WINDOWS} {WEBKIT} Chrome/138.0.0.0 Safari/537.36", "Chrome on Windows"),
        (f"{WINDOWS} {WEBKIT} Chrome/138.0.0.0 Safari/537.36 Edg/138.0", "Edge on Windows"),
        (f"{MAC} {WEBKIT} Chrome/138.0.0.0 Safari/537.36 OPR/120.0", "Opera on macOS"),
        (f"{MAC} AppleWebKit/605.1.15 Version/18.5 Safari/605.1.15", "Safari on macOS"),
        (f"{IPHONE} AppleWebKit/605.1.15 CriOS/138.0 Mobile Safari/604.1", "Chrome on iPhone"),
        (f"{IPHONE} AppleWebKit/605.1.15 Version/18.5 Safari/604.1", "Safari on iPhone"),
        (f"{ANDROID} {WEBKIT} Chrome/138.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0", "Firefox on Linux"),
        ("curl/8.14.1", "curl"),
        ("Something new (Linux)", "A browser on Linux"),
        ("Something new", "An unknown browser"),
        ("", "An unknown browser"),
        (None, "An unknown browser"),
    ],
)
def test_it_names_the_browser(said: str | None, name: str) -> None:
    assert browser_name(said) == name


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (761_856, "761.8 kB"),
        (999_999, "999.9 kB"),
        (1_000_000, "1.0 MB"),
        (83_512_000_000, "83.5 GB"),
        (2_000_000_000_000, "2,000.0 GB"),
    ],
)
def test_it_writes_a_size_in_the_greatest_unit_that_fits(count: int, text: str) -> None:
    assert file_size(count).replace("\N{NO-BREAK SPACE}", " ") == text
