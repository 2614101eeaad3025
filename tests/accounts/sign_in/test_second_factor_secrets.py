"""Codes are those of RFC 6238; secrets lie encrypted, and keys can be changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydantic import SecretStr

from billtrack.accounts.sign_in import second_factor_secrets as secrets_of
from billtrack.entrypoints.app import create_app
from tests.accounts.sign_in.telephone import Telephone
from tests.conftest import make_settings

RFC_SECRET = b"12345678901234567890"
NOON = datetime(2026, 11, 25, 12, 0, 10, tzinfo=UTC)
STEP = timedelta(seconds=30)
OLD, NEW = "the-Old-k3y-0f-this-installation-x", "the-N3w-key-of-this-1nstallation-y"


@pytest.fixture
def secret() -> bytes:
    return secrets_of.new_secret()


def find(secret: bytes, code: str, *, now: datetime = NOON, after: int = 0) -> int | None:
    return secrets_of.find_step(secret, code, now=now, after=after)


@pytest.mark.parametrize(
    ("second", "code"),
    # Appendix B of RFC 6238, the last six of its eight digits.
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_its_codes_are_those_of_the_standard(second: int, code: str) -> None:
    now = datetime.fromtimestamp(second, UTC)
    assert find(RFC_SECRET, code, now=now) == second // 30


def test_it_takes_the_step_before_and_after_and_no_other(secret: bytes) -> None:
    telephone = Telephone(secrets_of.as_text(secret))
    present = secrets_of.step_at(NOON)
    found = {later: find(secret, telephone.code(later=later, now=NOON)) for later in range(-3, 4)}
    assert found == {-3: None, -2: None, -1: present - 1, 0: present, 1: present + 1} | {
        2: None,
        3: None,
    }


def test_it_takes_no_step_that_was_used_or_lies_before(secret: bytes) -> None:
    telephone = Telephone(secrets_of.as_text(secret))
    present = secrets_of.step_at(NOON)
    for later in (-1, 0):
        assert find(secret, telephone.code(later=later, now=NOON), after=present) is None
    assert find(secret, telephone.code(later=1, now=NOON), after=present) == present + 1


@pytest.mark.parametrize("code", ["", "12345", "1234567", "١٢٣٤٥٦", "abcdef", " 123456", "\0" * 6])
def test_it_bears_what_is_no_code(secret: bytes, code: str) -> None:
    assert find(secret, code) is None


def test_it_keeps_the_secret_of_one_account_from_another(tmp_path: Path, secret: bytes) -> None:
    with create_app(make_settings(tmp_path)).app_context():
        sealed = secrets_of.seal(secret, user_id=1)
        assert secret not in sealed
        assert len(sealed) == 48
        assert secrets_of.seal(secret, user_id=1) != sealed
        assert secrets_of.unseal(sealed, user_id=1) == secret
        assert secrets_of.unseal(sealed, user_id=2) is None
        assert secrets_of.unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]), user_id=1) is None


def test_it_reads_with_old_keys_and_writes_with_the_new_one(tmp_path: Path, secret: bytes) -> None:
    def app_with(key: str, old: str | None = None) -> object:
        changes = {"secret_key": SecretStr(key), "old_keys": old and SecretStr(old)}
        return create_app(make_settings(tmp_path, **changes)).app_context()

    with app_with(OLD):  # type: ignore[attr-defined]
        before = secrets_of.seal(secret, user_id=1)
    with app_with(NEW):  # type: ignore[attr-defined]
        assert secrets_of.unseal(before, user_id=1) is None
    with app_with(NEW, f"{'x' * 40}\n{OLD}"):  # type: ignore[attr-defined]
        assert secrets_of.unseal(before, user_id=1) == secret
        after = secrets_of.seal(secret, user_id=1)
    with app_with(NEW):  # type: ignore[attr-defined]
        assert secrets_of.unseal(after, user_id=1) == secret


def test_an_app_reads_the_account_and_the_secret(tmp_path: Path, secret: bytes) -> None:
    settings = make_settings(tmp_path, public_url="https://billing.example.com")
    with create_app(settings).app_context():
        address = secrets_of.address_of(secret, account="ada+x@test.example")
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    issuer = "billtrack (billing.example.com)"
    assert unquote(parts.path) == f"/{issuer}:ada+x@test.example"
    asked = parse_qs(parts.query)
    assert asked == {"secret": [secrets_of.as_text(secret)], "issuer": [issuer]}
