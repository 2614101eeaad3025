"""An audit log to look into."""

from __future__ import annotations

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select

from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.platform.audit.writing import note


@pytest.fixture
def log(app: APIFlask) -> int:
    """Write six entries in four transactions; return the id of the first."""
    for numbers in ((1,), (2, 3), (4,), (5, 6)):
        with transaction():
            for number in numbers:
                note(number=number)
    return (db.session.scalar(select(func.max(AuditEntry.id))) or 0) - 5
