"""Look at a page as everybody might see it: on a phone and a large screen, light and dark."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from playwright.sync_api import Page, expect

WIDTHS = {360: 740, 1440: 900}
SCHEMES = ("light", "dark")
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
PROBES = (Path(__file__).parent / "probes.js").read_text(encoding="utf-8")


# Colours take most of the time, and what repeats is coloured like those before.
REPEATED = ("tbody tr:nth-child(n + 7)", ".api-columns section:nth-of-type(n + 9)")


def find_faults(page: Page, name: str, *, leave_out: tuple[str, ...] = ()) -> list[str]:
    """Return what is wrong with the page that is open, in every width and scheme.

    `leave_out`: selectors of what has been looked at elsewhere.
    """
    expect(page.locator("h1")).to_have_count(1)
    # The debugger's way in: the pages' Content-Security-Policy refuses a script element.
    page.evaluate(AXE)
    page.evaluate(PROBES)
    found = []
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        faults = page.evaluate("(seen) => probes.faults(seen)", list(leave_out))
        found += [f"{name} {width}: {fault}" for fault in faults]
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            faults = page.evaluate("(seen) => probes.faintness(seen)", [*REPEATED, *leave_out])
            found += [f"{name} {width} {scheme}: {fault}" for fault in faults]
    return found
