"""No secret reaches a log line, wherever it stands."""

from __future__ import annotations

import pytest

from billtrack.platform.redaction import HIDDEN, redact

WORD = "s3cr3t-stub"
KEY = "bt_live_" + "A1b2-C3d4_" * 3
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0" + ".c2lnbmF0dXJl"
COOKIE = ".eJwlzjEO" + ".aX3abc.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"key {KEY} is unknown", KEY),
        (f"GET /api/v1/usage/{KEY}", KEY),
        (f"/set-up?token={WORD}&x=1", WORD),
        (f"/callback?access_token={WORD}", WORD),
        (f"https://host.example/?API_KEY={WORD}#top", WORD),
        (f"Authorization: Bearer {WORD}", WORD),
        (f"authorization=Basic {WORD}", WORD),
        (f"{{'Authorization': 'Bearer {WORD}', 'Host': 'x'}}", WORD),
        (f"sent Bearer {WORD} twice", WORD),
        (f"Cookie: a=b; billtrack_session={COOKIE}", COOKIE),
        (f"Set-Cookie: billtrack_session={WORD}; HttpOnly", WORD),
        (f"session={COOKIE}", COOKIE),
        (f"decoding {COOKIE} failed", COOKIE),
        (f"no such token {JWT}", JWT),
        ("sent bt_refresh_0a1B2c3D4e5F twice", "0a1B2c3D4e5F"),
        (f"host=db password={WORD} user=b", WORD),
        (f"{{'password': 'words and {WORD} more', 'a': 1}}", WORD),
        (f'{{"secret_key": "with \\"quotes\\" and {WORD}"}}', WORD),
        (f"password: {WORD}", WORD),
        (f"postgresql://stub:{WORD}@db.example:5432/b", WORD),
        (f"postgresql+psycopg://stub:{WORD}@x/y@db.example/b", WORD),
        (f"otpauth://totp/billtrack:a@b.example?issuer=x&secret={WORD}", WORD),
        (f"otpauth://totp/{WORD}", WORD),
        (f"recovery_codes: {WORD}", WORD),
        (f"/choose-password?token={WORD}", WORD),
        (f"refresh_token={WORD}&grant=x", WORD),
        (f"redis://:{WORD}@redis.example:6379/0", WORD),
    ],
)
def test_it_leaves_out_what_looks_like_a_secret(text: str, secret: str) -> None:
    shown = redact(text)
    assert secret not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    "name",
    ["password", "Authorization", "set-cookie", "Redis_URL", "token", "totp-secret", "jwt_keys"],
)
def test_it_leaves_out_fields_by_their_name(name: str) -> None:
    assert redact(WORD, name) == HIDDEN
    assert redact({"outer": [{name: WORD}]}) == {"outer": [{name: HIDDEN}]}


def test_it_looks_into_what_is_no_text() -> None:
    assert WORD not in str(redact(ValueError(f"password={WORD}")))
    assert WORD not in str(redact((f"token={WORD}", {f"token={WORD}"})))


@pytest.mark.parametrize(
    "text",
    [
        "the token was refused",
        "5 sessions ended",
        "http://localhost:6009/api/v1/usage/5",
        "see https://docs.example/a?page=2",
        "basic checks, bearer of news",
        "/settings/api-keys/7/revoke",
        "10:15:00 monkey=1",
    ],
)
def test_it_leaves_other_words_alone(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("value", [1, 1.5, True, None])
def test_numbers_stay_numbers(value: object) -> None:
    assert redact(value) is value
