"""The server-rendered pages: forms in, HTML out, one use-case call each.

One file per screen area; `forms` says what may be typed. How figures are
shown is the work of `present`. No SQL, no arithmetic and no rules here.
"""

from billtrack.dashboard import (  # noqa: F401 (importing a module adds its routes)
    account,
    accounts,
    api_key_rotation,
    api_keys,
    audit,
    customer_list,
    customers,
    journal,
    overview,
    personal_data,
    reconciliation,
    recovery,
    rejected_usage,
    reports,
    second_factor,
    settings,
    sign_in,
    sign_in_code,
    styleguide,
    system_health,
    usage,
    usage_imports,
)
from billtrack.dashboard.blueprint import dashboard

__all__ = ["dashboard"]
