"""Count what intake decided: for the metrics, and by the account that sent it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from billtrack.platform.metrics.counting import count_records, current_counts
from billtrack.usage.records.submissions import Submission, Terms
from billtrack.usage.sources.tally import REJECTED, REVERSED, current_tally

if TYPE_CHECKING:
    from billtrack.usage.records.outcomes import Outcome


def count_outcomes(submissions: Sequence[Submission], outcomes: Sequence[Outcome]) -> None:
    """Count what was decided, once it is stored; what others only held back was not."""
    if not submissions:
        return
    current_tally().count(submissions, outcomes)
    if current_counts() is not None:
        decided = (one.status.value for one in outcomes if one.record_id or one.error)
        count_records(Counter(decided))


def count_misshapen(terms: Terms) -> None:
    """Count an item that is refused because it is no record."""
    current_tally().count_misshapen(terms)
    if current_counts() is not None:
        count_records({REJECTED: 1})


def count_reversal(source: int, terms: Terms) -> None:
    """Count that a record of the source was taken back, once its reversal is stored."""
    current_tally().count_reversal(source, terms)
    count_records({REVERSED: 1})
