"""Counting decided records and keeping refused ones, for every way in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from billtrack.usage.records.submissions import Misshapen, Submission, Terms
from billtrack.usage.sources.counting import count_misshapen, count_outcomes
from billtrack.usage.sources.refusing import note_misshapen, note_refused

if TYPE_CHECKING:
    from billtrack.usage.records.outcomes import Outcome


def settle(
    submissions: Sequence[Submission], outcomes: Sequence[Outcome], *, is_whole: bool = False
) -> None:
    """Count what was decided, and keep what was refused.

    Of a group that is stored as a whole or not at all (`is_whole`) nothing is kept: the sender
    has all of it, and sends all of it again.
    """
    count_outcomes(submissions, outcomes)
    if is_whole:
        return
    for sent, outcome in zip(submissions, outcomes, strict=True):
        if outcome.error is not None and sent.terms.keeps_refused:
            note_refused(sent.item, outcome.error, terms=sent.terms)


def settle_misshapen(sent: Misshapen, terms: Terms, *, is_whole: bool = False) -> None:
    """Count an item that is no record, and keep it; see `settle`."""
    count_misshapen(terms)
    if terms.keeps_refused and not is_whole:
        note_misshapen(sent, terms=terms)
