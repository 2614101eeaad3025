"""Judging a password: in bounded time, and never more kindly than zxcvbn itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from zxcvbn import matching, zxcvbn

from billtrack.accounts.users import password_strength
from billtrack.accounts.users.password_strength import (
    LONGEST_JUDGED,
    MOST_SUBSTITUTIONS,
    is_guessable,
)
from tests.work import calls_made

L33T = "4@8({[<3691!|70$5+%2"
"""Every l33t character: 736 combinations."""

A_WORDS = " ".join("a" * n for n in range(1, 19))
"""A name of 188 letters that makes every part of `aaa…` a word of its own."""

SLOW = {
    "every l33t character": (L33T * 13)[:256],
    "l33t characters among letters": "a".join(L33T * 2)[:72],
    "a half that is repeated": L33T[::-1] + "aeioslgctxzaeios" + L33T[::-1] + "aeioslgctxzaeios",
    "own words in l33t": "a@4aaa$aaa5aaa1aa!aa|aa7aa+aa9aa6a(a{a" + "a" * 34,
    "readings of one letter": "6é177|27119i1|3714191\U0001f6000934|9699|73110|@91109173714i1|371",
    "no character of the BMP": "\U0001f600\U0001f601" * 128,
    "digits": "11291204" * 32,
    "one letter": "a" * 256,
}
ABOUT = (A_WORDS, "a" * 64 + "@" + ".".join(["a" * 61] * 3) + ".aa")

# Two patterns, or one that repeats; those with both rows of the keyboard take up to 88 passes.
WEAK = (
    *("passwordpassword" * 5, "p4ssw0rdP@$$w0rd", "1234567890P@$$w0rd", "1234567890!@#$%^&*()"),
    *("!@#$%^&*()_+1234567890-=", "1234567890-=!@#$%^&*()_+", "qwertyuiop[]" * 5),
    *("31.12.1999-31.12.1999", "19991231" * 9, "xkqvz" * 14, "xkqvz" * 50, "x1!|7" * 14),
    *("abcdefghijklmnopqrstuvwxyz0123456789", "sunshine-now" * 3, "p@ssword4dragon"),
)
STRONG = (
    *("correct horse battery staple", "kX9#vLq2pTz8", "Grüße aus dem Süden, bald"),
    *("4@8({[<3691!|70$5+%2" + "kX9#vLq2pTz8", "m!7Vq@4z$L{9w<2+T5e%8(c0[1|g6x3"),
)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Collect what is handed to zxcvbn."""
    seen: list[tuple[str, list[str]]] = []

    def listen(password: str, user_inputs: list[str]) -> Any:
        seen.append((password, user_inputs))
        return zxcvbn(password, user_inputs=user_inputs)

    monkeypatch.setattr(password_strength, "zxcvbn", listen)
    return seen


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect how many substitutions zxcvbn tries, of the password and of what repeats in it."""
    seen: list[int] = []

    def listen(table: Any) -> Any:
        found = password_strength._substitutions(table)
        seen.append(len(found))
        return found

    monkeypatch.setattr(matching, "enumerate_l33t_subs", listen)
    return seen


@pytest.mark.parametrize("kind", SLOW)
def test_it_judges_within_moments(kind: str) -> None:
    # A fifth of a second; unbounded, these take minutes.
    assert calls_made(lambda: is_guessable(SLOW[kind], about=ABOUT)) < 500_000


@pytest.mark.parametrize("kind", SLOW)
def test_it_bounds_what_is_judged(
    kind: str, judged: list[tuple[str, list[str]]], passes: list[int]
) -> None:
    is_guessable(SLOW[kind], about=ABOUT)
    assert 1 <= len(judged) <= 2
    for password, words in judged:
        assert len(password) <= LONGEST_JUDGED
        assert max(map(len, words)) <= LONGEST_JUDGED
    assert passes
    assert max(passes) <= MOST_SUBSTITUTIONS


@pytest.mark.parametrize("password", WEAK)
def test_it_refuses_what_zxcvbn_refuses(password: str) -> None:
    assert is_guessable(password)


@pytest.mark.parametrize("password", STRONG)
def test_it_takes_what_is_random(password: str) -> None:
    assert not is_guessable(password)


def test_it_finds_a_word_in_whatever_substitutions() -> None:
    for row in ("1234567890", "!@#$%^&*()_+"):
        for word in ("p4ssw0rd", "p@$$w0rd", "p455w0rd", "p@55w0rd"):
            assert is_guessable(row + word), (row, word)


def test_it_refuses_own_words_that_are_longer_than_what_is_judged() -> None:
    email = "quetzal.northumberland.xylophone.kaleidoscope.marmalade@wk7.example-of-a-host.test"
    assert len(email) > LONGEST_JUDGED
    assert is_guessable(email, about=[email])
    assert not is_guessable(email)


def test_threads_judge_by_their_own_words() -> None:
    names = [f"xkq{n}vzjwplm" for n in range(8)]
    work = [partial(is_guessable, name, about=[name]) for name in names * 5]
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda judge: judge(), work))
