"""The server-rendered pages: forms in, HTML out, one domain call each.

One package per area of the menu, with its views, its forms and what its templates show. `shared`
holds what several areas use. No SQL, no arithmetic and no rules here.
"""

# Importing a module adds its routes.
import billtrack.dashboard.customers.customer.views
import billtrack.dashboard.customers.views
import billtrack.dashboard.overview.views
import billtrack.dashboard.reports.views
import billtrack.dashboard.settings.accounts.account
import billtrack.dashboard.settings.accounts.personal_data
import billtrack.dashboard.settings.accounts.views
import billtrack.dashboard.settings.api_keys.rotation
import billtrack.dashboard.settings.api_keys.views
import billtrack.dashboard.settings.audit_log.views
import billtrack.dashboard.settings.system_health.views
import billtrack.dashboard.settings.two_factor.views
import billtrack.dashboard.settings.views
import billtrack.dashboard.sign_in.code.views
import billtrack.dashboard.sign_in.recovery.views
import billtrack.dashboard.sign_in.views
import billtrack.dashboard.sources.rejected.views
import billtrack.dashboard.sources.views
import billtrack.dashboard.usage.imports.views
import billtrack.dashboard.usage.reconciliation.views
import billtrack.dashboard.usage.views  # noqa: F401
from billtrack.dashboard.shared.blueprint import dashboard

__all__ = ["dashboard"]
