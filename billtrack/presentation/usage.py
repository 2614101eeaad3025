"""Usage records and jobs as plain view data for templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from billtrack.accounts.users.queries import users_by_id
from billtrack.presentation.filters import MeterView
from billtrack.usage.records.queries import RecordView


def record_rows(
    records: Sequence[RecordView], meters: Mapping[str, MeterView]
) -> list[dict[str, Any]]:
    """Return the records as usage/_record_rows.html takes them."""
    ids = {record.user_id for record in records} | {record.recorded_by_id for record in records}
    users = users_by_id(sorted(ids))
    return [
        {
            "id": record.id,
            "occurred_at": record.occurred_at,
            "created_at": record.created_at,
            "user_id": record.user_id,
            "user_name": users[record.user_id].name,
            "meter": meters[record.event],
            "quantity": record.quantity,
            "source": users[record.recorded_by_id].name,
            "reverses_id": record.reverses_id,
            "reversed_by_id": record.reversed_by_id,
        }
        for record in records
    ]
