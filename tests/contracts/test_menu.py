"""The menu follows from the area: each page belongs to one that has an entry."""

from __future__ import annotations

from pathlib import Path

import pytest
from apiflask import APIFlask

from billtrack.dashboard.shared.blueprint import MENU, WITHOUT_ENTRY, area_of
from billtrack.entrypoints.app import create_app
from tests.conftest import make_settings


@pytest.fixture
def bare(tmp_path: Path) -> APIFlask:
    """An app whose database is never asked."""
    return create_app(make_settings(tmp_path))


def test_every_page_belongs_to_an_area_of_the_menu(bare: APIFlask) -> None:
    with bare.app_context():
        areas = {name: area_of(name) for name in bare.view_functions if "dashboard." in name}
    assert len(areas) > 50
    assert {area for area in areas.values() if area not in MENU} == WITHOUT_ENTRY


def test_every_entry_leads_into_its_own_area(bare: APIFlask) -> None:
    with bare.app_context():
        for area, entry in MENU.items():
            # The API reference is a page of the API, beside the dashboard.
            own = None if area == "api_reference" else area
            assert area_of(entry.endpoint) == own, entry
