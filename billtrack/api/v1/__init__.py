"""The JSON API, version 1: one module per resource.

Each module holds the routes of one resource beside the shapes they take and
give. Answers may gain fields; nothing else changes within the version.
"""

from billtrack.api.v1 import (  # noqa: F401 (importing a module adds its routes)
    api_keys,
    audit,
    auth,
    jobs,
    meters,
    openapi,
    personal_data,
    plans,
    reconciliation,
    rejected_records,
    reports,
    sources,
    statements,
    usage,
    usage_batches,
    users,
)
from billtrack.api.v1.blueprint import api

__all__ = ["api"]
