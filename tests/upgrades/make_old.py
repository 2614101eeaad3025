"""Make the databases of an old version, which the tests beside this file upgrade.

Runs with a checkout of that version and the environment that its `scripts/set-up test` makes.
Modules have moved since 9c030e0: for that one, take this script as it was at eea6146.

    cd CHECKOUT && PYTHONPATH=. .venv/bin/python PATH/TO/tests/upgrades/make_old.py

All is done by that version: its schema, its operations, its API. Beside this file it writes a dump
of each database as SQL text, compressed, and facts.json: the API keys and what was answered.
"""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.setup.initialise import initialise
from billtrack.platform.extensions import db
from billtrack.usage.sources.writing import write_noted
from tests.cast import Cast, Member, create_cast
from tests.conftest import make_settings
from tests.services import start_postgres

HERE = Path(__file__).parent
NOW = datetime.now(UTC).replace(microsecond=0)
USAGE = "/api/v1/usage/"


def post(member: Member, path: str, body: Any, status: int, **options: Any) -> Any:
    """Send the body, and return what is answered; fails for another status."""
    answer = member.post(path, body, **options)
    if answer.status_code != status:
        raise SystemExit(f"{path}: {answer.status_code} {answer.get_data(as_text=True)}")
    return answer.get_json()


def fill(cast: Cast) -> dict[str, Any]:
    """Do what an installation sees in two months; return what the tests compare."""
    records = []
    for number in range(60):
        body = {
            "user_id": (cast.customer, cast.other_customer)[number % 2].id,
            "event": ("api_calls", "vm_uptime", "cpu_time")[number % 3],
            "quantity": 10**number if number < 15 else 1000 + number,
            "occurred_at": (NOW - timedelta(hours=25 * number)).isoformat(),
            "metadata": {"region": "Zürich", "n": 1.5} if number % 4 == 0 else None,
            "idempotency_key": f"ключ-{number}" if number % 5 else None,
        }
        sender = (cast.provider, cast.other_provider)[number % 2]
        sent = {name: value for name, value in body.items() if value is not None}
        stored = post(sender, USAGE, sent, 201)
        records.append({"sender": sender.key, "body": sent, "id": stored["id"]})
    event = {
        "specversion": "1.0",
        "id": "ce-1",
        "source": "/gateway",
        "type": "api_calls",
        "subject": str(cast.customer.id),
        "data": {"quantity": 7, "zone": "b"},
    }
    options = {"content_type": "application/cloudevents-batch+json"}
    post(cast.provider, USAGE + "batch", None, 200, data=json.dumps([event]), **options)
    reversals = []
    for one in records[20:26]:
        reversal = post(cast.admin, f"{USAGE}{one['id']}/reverse", {"reason": "r"}, 201)
        reversals.append({"id": one["id"], "reversal_id": reversal["id"]})
    unheard_of = {"user_id": cast.customer.id, "event": "unheard_of", "quantity": 1}
    post(cast.provider, USAGE, {**unheard_of, "idempotency_key": "refused"}, 422)
    write_noted()
    post(cast.admin, f"/api/v1/reports/{cast.customer.id}", None, 202)
    post(cast.admin, f"/api/v1/users/{cast.stranger.id}/deactivate", None, 200)
    return {
        "admin": cast.admin.key,
        "provider": cast.provider.key,
        "customer_id": cast.customer.id,
        "stranger_id": cast.stranger.id,
        "event": event,
        "records": records[:24],
        "reversals": reversals,
    }


def make(folder: Path, **changes: object) -> dict[str, Any]:
    """Make and fill the database that the changed settings name."""
    settings = make_settings(folder, **changes)
    app = create_app(settings)
    with app.app_context():
        initialise(settings, now=NOW)
        facts = fill(create_cast())
        db.session.remove()
        db.engine.dispose()
    return facts


def keep(name: str, dump: bytes) -> None:
    """Write the dump beside this file."""
    (HERE / name).write_bytes(gzip.compress(dump, mtime=0))


def main() -> None:
    """Make both databases."""
    facts = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        facts["sqlite"] = make(folder)
        with sqlite3.connect(folder / "billtrack.db") as database:
            keep("old-sqlite.sql.gz", "\n".join(database.iterdump()).encode())
    server = start_postgres()
    with tempfile.TemporaryDirectory() as temporary:
        url = server.create_database("old_version")
        facts["postgresql"] = make(Path(temporary), database_url=url)
        dump = subprocess.run(
            ["pg_dump", "--inserts", "--no-owner", "--no-privileges", f"--dbname={url}"],
            check=True,
            capture_output=True,
            env={**os.environ, "PGTZ": "UTC"},
        ).stdout
        keep("old-postgresql.sql.gz", dump)
    server.close()
    # Without what they begin with, by which scanners of secrets know API keys.
    told = json.dumps(facts, ensure_ascii=False).replace("bt_live_", "")
    (HERE / "facts.json").write_text(told + "\n")


if __name__ == "__main__":
    main()
