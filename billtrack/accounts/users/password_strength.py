"""Password strength by zxcvbn, in bounded time.

zxcvbn tries every combination of l33t substitutions: up to 736 passes over the password. Its
authors' limit of 72 characters therefore still allows ten seconds. `_substitutions` bounds the
passes at 16, and leaves everything else of zxcvbn as it is.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from itertools import product

from zxcvbn import matching, zxcvbn

LEAST_SCORE = 3
"""Lowest score accepted, out of 4: some hundred million guesses, months of work with argon2."""

LONGEST_JUDGED = 72
"""Characters of password and words that are judged; zxcvbn takes no more."""

MOST_SUBSTITUTIONS = 16
"""Passes over a password for l33t words. The slowest password found takes 0.11 s with 16."""

OWN_WORDS = ("billtrack", "billing", "invoice", "usage")

_all_substitutions = matching.enumerate_l33t_subs
_judging = threading.Lock()


def is_guessable(password: str, *, about: Sequence[str] = ()) -> bool:
    """Tell whether somebody who tries common passwords and patterns first finds it soon.

    If the password repeats, it is judged up to a whole repetition as well: the rest of one, cut
    in two, may look random.
    """
    words = _words(about)
    cuts = {password[:LONGEST_JUDGED], password[: _whole_periods(password)]}
    # zxcvbn keeps the words of one password in a table that all threads share.
    with _judging:
        return any(zxcvbn(cut, user_inputs=words)["score"] < LEAST_SCORE for cut in cuts)


def _words(about: Sequence[str]) -> list[str]:
    names = [*about, *(text.partition("@")[0] for text in about), *OWN_WORDS]
    words = [word for name in names for word in re.split(r"\W+", name) if word]
    return [word[:LONGEST_JUDGED] for word in (*names, *words)]


def _whole_periods(password: str) -> int:
    """Return the judged length that ends with a repetition, if the whole password repeats."""
    period = next(n for n in range(1, len(password) + 1) if password.startswith(password[n:]))
    most = min(len(password), LONGEST_JUDGED)
    return most // period * period or most


def _substitutions(table: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Return the readings of l33t characters as letters, 16 at most.

    `table` holds the l33t characters of each letter that are in the password. zxcvbn takes one
    of them per letter in every combination. Beyond 16 combinations, all are read as letters: in
    at most 8 readings, for `1`, `|` and `7` stand for two letters each. That finds the same
    words, except those with a digit that stays a digit.
    """
    every: list[dict[str, str]] = _all_substitutions(table)
    if len(every) <= MOST_SUBSTITUTIONS:
        return every
    letters: dict[str, list[str]] = {}
    for letter, characters in table.items():
        for character in characters:
            letters.setdefault(character, []).append(letter)
    return [dict(zip(letters, reading, strict=True)) for reading in product(*letters.values())]


# zxcvbn has no setting for it. The repeats that it judges by themselves need the bound as well.
matching.enumerate_l33t_subs = _substitutions
