"""Who asks: what the connection says, unless proxies that are ours say more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flask import request
from sqlalchemy import select

from billtrack.accounts.users.models import UserSession
from billtrack.accounts.users.permissions import Role
from billtrack.entrypoints.app import create_app
from billtrack.platform.audit.models import AuditPersonalValue
from billtrack.platform.extensions import db
from tests.cast import PASSWORD, create_user, sign_in
from tests.conftest import make_settings

FORGED, REAL, PROXY = "198.51.100.66", "203.0.113.5", "192.0.2.10"


def seen_address(folder: Path, hops: int | None, forwarded: str) -> str | None:
    """Sign in through proxies and return the address that is kept; audit keeps the same."""
    given = {} if hops is None else {"proxy_hops": hops}
    app = create_app(make_settings(folder, **given))
    app.testing = True
    with app.app_context():
        user = create_user(role=Role.MANAGER, email="m@test.example", password=PASSWORD)
        browser = app.test_client()
        browser.environ_base["HTTP_X_FORWARDED_FOR"] = forwarded
        sign_in(browser, user)
        kept = db.session.scalar(select(UserSession.address))
        addresses = select(AuditPersonalValue.value).where(AuditPersonalValue.field == "address")
        assert set(db.session.scalars(addresses)) == {kept} - {None}
        db.session.remove()
        db.engine.dispose()
    return kept


@pytest.mark.parametrize(
    ("hops", "forwarded", "kept"),
    [
        (None, FORGED, "127.0.0.1"),
        (0, FORGED, "127.0.0.1"),
        (1, REAL, REAL),
        (1, f"{FORGED}, {REAL}", REAL),
        (2, f"{FORGED}, {REAL}, {PROXY}", REAL),
        (2, FORGED, "127.0.0.1"),
        (1, "unknown", None),
        (1, "fe80::1%" + "x" * 300, None),
        (1, "2001:db8::5", "2001:db8::5"),
    ],
)
def test_nobody_chooses_the_address_that_is_kept(
    sqlite_template: Path, tmp_path: Path, hops: int | None, forwarded: str, kept: str | None
) -> None:
    shutil.copy(sqlite_template, tmp_path / "billtrack.db")
    assert seen_address(tmp_path, hops, forwarded) == kept


@pytest.mark.parametrize(
    ("hops", "seen"), [(0, "http://localhost"), (1, "https://billing.example")]
)
def test_scheme_and_host_come_from_as_many_proxies(tmp_path: Path, hops: int, seen: str) -> None:
    behind = create_app(make_settings(tmp_path, proxy_hops=hops))
    behind.view_functions["health.show_liveness"] = lambda: {"status": request.host_url}
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "billing.example"}
    answer = behind.test_client().get("/api/v1/health/live", headers=forwarded)
    assert answer.get_json()["status"] == f"{seen}/"
