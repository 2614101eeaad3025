"""The page that becomes a PDF."""

from __future__ import annotations

import pytest

from billtrack.documents.reports.page import _direction


@pytest.mark.parametrize(
    ("name", "direction"),
    [("Acme", "ltr"), ("42 Acme", "ltr"), ("שלום 7", "rtl"), ("(شركة)", "rtl"), ("7", "ltr")],
)
def test_a_name_runs_as_its_first_letter_does(name: str, direction: str) -> None:
    assert _direction(name) == direction
