"""How often tests repeat what chance decides: BILLTRACK_TEST_EFFORT, a whole number from 1.

`make test` runs with 1, `make test-long` with 10. Kills, random cases, Hypothesis examples and
racing rounds take their number from `times`.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

VARIABLE = "BILLTRACK_TEST_EFFORT"
EXAMPLES = 100
"""Examples of a Hypothesis test that names no number of its own, with an effort of 1."""


def effort() -> int:
    """Return the factor from the environment, 1 if it is unset or empty.

    Raises pytest.UsageError, which ends the run, unless it is a whole number from 1.
    """
    text = os.environ.get(VARIABLE, "").strip() or "1"
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise pytest.UsageError(f"{VARIABLE} must be a whole number from 1, not {text!r}")
    return int(text)


def times(count: int) -> int:
    """Return how often to repeat what an ordinary run repeats `count` times."""
    return count * effort()


def load_profile() -> None:
    """Set the defaults of Hypothesis tests: scaled examples, no limits of time."""
    settings.register_profile(
        "billtrack",
        parent=settings(),
        max_examples=times(EXAMPLES),
        deadline=None,  # a busy machine is no fault of the code
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("billtrack")
