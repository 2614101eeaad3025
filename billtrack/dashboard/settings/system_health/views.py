"""Settings: how billtrack is, part by part, for administrators."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import current_app
from flask.typing import ResponseReturnValue

from billtrack import __version__
from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.dashboard.settings.views import render_section
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.silent_sources import silent_sources
from billtrack.notifications.mail.queries import read_outbox
from billtrack.notifications.mail.transport import Folder, Transport
from billtrack.platform.config import Settings
from billtrack.platform.db import database_now
from billtrack.platform.extensions import current_settings
from billtrack.platform.installation.parts import get_database_state, list_workers
from billtrack.platform.jobs.bell import queue_is_reachable
from billtrack.presentation.sizes import file_size


@dashboard.get("/settings/health")
@access.require(Permission.SETTINGS_READ)
def system_health() -> ResponseReturnValue:
    """Show every part: well, or what to do. It does not refresh itself: that would be use."""
    now, installed = datetime.now(UTC), current_settings()
    workers, database = list_workers(now=database_now()), get_database_state()
    return render_section(
        "system_health",
        "dashboard.system_health",
        database=database,
        database_size=file_size(database.size),
        queue={"product": _queue(installed), "answers": queue_is_reachable()},
        workers=workers,
        working=any(worker.is_alive for worker in workers),
        storage=_storage(installed),
        mail=_mail(),
        silent=silent_sources(now),
        version=__version__,
        installed=_facts(installed),
        now=now,
    )


def _queue(installed: Settings) -> str:
    return "Redis" if installed.redis_url else "SQLite, a file of its own"


def _storage(installed: Settings) -> dict[str, Any]:
    """Return where files lie; an address without what may be secret in it."""
    if installed.storage_url:
        parts = urlsplit(installed.storage_url)
        place = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
        return {"place": place, "free": None, "is_writable": True}
    folder = installed.data_dir.resolve()
    return {"place": str(folder), "free": _free(folder), "is_writable": os.access(folder, os.W_OK)}


def _mail() -> dict[str, Any]:
    """Return where letters go and whether they get there."""
    transport: Transport = current_app.extensions["billtrack.notifications.mail"]
    return {
        "place": transport.place,
        "is_folder": isinstance(transport, Folder),
        "outbox": read_outbox(now=datetime.now(UTC)),
    }


def _free(folder: Path) -> str | None:
    try:
        return file_size(shutil.disk_usage(folder).free)
    except OSError:
        return None


def _facts(installed: Settings) -> dict[str, str]:
    return {
        "Billing time zone": installed.timezone,
        "Currency without a plan": installed.currency,
        "Public address": installed.public_url,
        "Accepts usage": f"up to {installed.backfill_days:,} days old",
    }
