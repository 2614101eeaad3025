"""Servers and clients that die: what was recorded is kept, sent in order, and counts once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from billtrack.platform.extensions import db
from billtrack.usage.records.models import UsageRecord
from tests.client.conftest import Server
from tests.client.recorder import PART
from tests.client.test_client import assert_recorded, made, record_many
from tests.scenarios.books import Usage
from tests.scenarios.harness import Running, eventually

ROOT = Path(__file__).resolve().parents[2]


def start_recorder(server: Server, spool: Path, prefix: str, way: str) -> Running:
    arguments = [server.url, str(spool), str(server.customer.id), prefix, way]
    paths = [str(ROOT), str(ROOT / "clients" / "python" / "src")]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(paths),
        "API_KEY": server.provider.key,
    }
    command = [sys.executable, "-W", "ignore", "-m", "tests.client.recorder", *arguments]
    return Running(command, environment)


def kill_after(process: Running, count: int) -> int:
    """Kill -9 the process when it has said that so many are recorded; return how many it said."""
    eventually(
        lambda: len(process.lines) >= count or process.process.poll() is not None,
        lambda: process.text,
    )
    process.kill9()
    return len([line for line in process.lines if line[-1:].isdigit()])


def stored_keys(server: Server) -> list[str]:
    """Return the keys of the provider's records in the order in which they were stored."""
    with server.installation.inside():
        query = select(UsageRecord.idempotency_key).order_by(UsageRecord.id)
        own = query.where(UsageRecord.recorded_by_id == server.provider.id)
        return [key or "" for key in db.session.scalars(own)]


def usages(server: Server, keys: Sequence[str]) -> dict[str, Usage]:
    """Return what the recorder sends under these keys, which end in a number."""
    return {
        key: Usage(server.customer.id, "api_calls", int(key.rpartition("-")[2]) + 1) for key in keys
    }


@pytest.mark.by_chance
def test_what_a_killed_client_recorded_is_sent_in_order_by_the_next(
    server: Server, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    said = {}
    for name in ("first", "second"):  # nobody answers them
        with start_recorder(server, spool, name, "forever") as process:
            said[name] = kill_after(process, 150)
    server.start()
    with made(server, spool=spool) as client:
        own = client.record(server.customer.id, "api_calls", 1, idempotency_key="own-0")
        assert client.flush(timeout=60)
    keys = stored_keys(server)
    counts = {name: sum(key.startswith(name) for key in keys) for name in said}
    # A process may die after it has recorded and before it has said so.
    assert all(counts[name] - said[name] in {0, 1} for name in said)
    assert keys == [f"{name}-{n}" for name in said for n in range(counts[name])] + [own]
    assert_recorded(server, usages(server, keys))
    assert list((spool / "writers").iterdir()) == []


def test_a_line_that_a_client_died_over_harms_no_other(server: Server, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with start_recorder(server, spool, "first", "forever") as process:
        kill_after(process, 20)
    last = max(spool.glob("writers/*/*.jsonl"))
    whole = last.read_bytes()
    lines = whole.splitlines(keepends=True)
    last.write_bytes(b"".join(lines) + b"\0" * 30 + b"\n" + lines[0] + lines[0][:40])
    server.start()
    with made(server, spool=spool) as client:
        assert client.flush(timeout=60)
    keys = stored_keys(server)
    assert len(keys) >= 20
    assert keys == [f"first-{n}" for n in range(len(keys))]
    refused = (spool / "refused.jsonl").read_text().splitlines()
    assert len(refused) == 1
    assert "unreadable" in refused[0]


@pytest.mark.by_chance
def test_processes_share_a_spool_while_servers_and_clients_die(
    server: Server, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    server.start()
    processes = [start_recorder(server, spool, f"p{n}", "forever") for n in range(3)]
    said = {"p0": kill_after(processes[0], 200)}
    server.kill9()
    said["p1"] = kill_after(processes[1], len(processes[1].lines) + 100)
    server.start()
    for _ in range(3):  # what the dead have left, while another is alive
        with made(server, spool=spool) as client:
            assert client.flush(timeout=60)
    said["p2"] = kill_after(processes[2], len(processes[2].lines) + 100)
    with made(server, spool=spool) as client:
        assert client.flush(timeout=60)
    keys = stored_keys(server)
    for name, count in said.items():
        own = [key for key in keys if key.startswith(name)]
        assert len(own) - count in {0, 1}, name
        assert own == [f"{name}-{n}" for n in range(len(own))]
    assert_recorded(server, usages(server, keys))
    assert list((spool / "writers").iterdir()) == []


def test_a_server_that_dies_and_returns_loses_and_doubles_nothing(
    server: Server, tmp_path: Path
) -> None:
    sent: dict[str, Usage] = {}
    server.start()
    with made(server, spool=tmp_path / "spool") as client:
        sent |= record_many(client, server, range(500))
        server.kill9()
        sent |= record_many(client, server, range(500, 700))
        server.start()
        sent |= record_many(client, server, range(700, 800))
        assert client.flush(timeout=60)
    assert_recorded(server, sent)


def test_a_fork_leaves_to_the_parent_what_it_recorded(running: Server, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with start_recorder(running, spool, "f", "fork") as process:
        assert process.wait() == 0, process.text
    keys = [f"f-{who}-{n}" for who in ("before", "parent", "child") for n in range(PART)]
    assert_recorded(running, usages(running, keys))
    assert len(process.lines) == len(keys)
    assert list((spool / "writers").iterdir()) == []


def test_a_full_disk_or_a_lost_folder_stops_nobody(
    running: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made(running, spool=tmp_path / "spool") as client:
        sent = record_many(client, running, range(5))
        real = os.write

        def full(fd: int, data: bytes) -> int:
            if b"idempotency_key" in data:
                return real(fd, data[:20])  # what a disk takes that is just full
            return real(fd, data)

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            sent |= record_many(client, running, range(5, 200))
        sent |= record_many(client, running, range(200, 220))
        assert client.flush(timeout=60)
    assert_recorded(running, sent)
