"""The Python client with a real server: what it records, refuses and keeps."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from billtrack_client import Client, Limits, Refused

from tests.client.conftest import Server
from tests.client.proxy import Cut, Plan, Proxy, canned
from tests.scenarios.books import Usage, assert_books_agree
from tests.scenarios.harness import Installation

QUICK = Limits(batch_records=50, batch_seconds=0.05, timeout=10, longest_wait=0.2)


def made(server: Server, url: str | None = None, **options: Any) -> Client:
    options.setdefault("limits", QUICK)
    return Client(url or server.url, server.provider.key, **options)


def record_many(client: Client, server: Server, numbers: range) -> dict[str, Usage]:
    """Record some, each with another quantity; return them by the key they were given."""
    usages = [Usage(server.customer.id, "api_calls", n + 1) for n in numbers]
    return {client.record(u.user_id, u.event, u.quantity): u for u in usages}


def assert_recorded(server: Server, sent: dict[str, Usage]) -> None:
    assert_books_agree(server.installation, sent, recorded_by_id=server.provider.id)


def records(installation: Installation, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = installation.ask("GET", "/api/v1/usage", key=key).json["data"]
    return found


def test_it_records_what_it_is_told(running: Server) -> None:
    then = datetime.now(UTC) - timedelta(hours=3)
    before = datetime.now(UTC)
    with made(running) as client:
        first = client.record(
            running.customer.id,
            "vm_uptime",
            7,
            occurred_at=then,
            idempotency_key="a key of mine",
            metadata={"region": "eu", "cores": 4, "spot": True, "load": 0.5},
        )
        second = client.record(running.customer.id, "api_calls", 10**15)
        after = datetime.now(UTC)
        assert client.flush(timeout=60)
    newest, oldest = records(running.installation, running.provider.key)
    assert (oldest["idempotency_key"], newest["idempotency_key"]) == (first, second)
    assert first == "a key of mine"
    assert (oldest["event"], oldest["quantity"], newest["quantity"]) == ("vm_uptime", 7, 10**15)
    assert datetime.fromisoformat(oldest["occurred_at"]) == then
    assert before <= datetime.fromisoformat(newest["occurred_at"]) <= after
    assert oldest["metadata"] == {"region": "eu", "cores": 4, "spot": True, "load": 0.5}


def test_it_hands_on_what_the_server_refuses_and_sends_the_rest(
    running: Server, tmp_path: Path
) -> None:
    refused: list[Refused] = []
    with made(running, spool=tmp_path / "spool", on_refused=refused.append) as client:
        sent = record_many(client, running, range(10))
        client.record(running.customer.id, "tea", 5, idempotency_key="no meter")
        client.record(10**15, "api_calls", 5, idempotency_key="nobody")
        taken = next(iter(sent))
        client.record(running.customer.id, "api_calls", 999, idempotency_key=taken)
        sent |= record_many(client, running, range(10, 20))
        assert client.close(timeout=60)
    codes = {(one.record["idempotency_key"], one.code) for one in refused}
    assert codes == {
        ("no meter", "unknown_event"),
        ("nobody", "unknown_user"),
        (taken, "idempotency_conflict"),
    }
    lines = (tmp_path / "spool" / "refused.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    assert {(one["record"]["idempotency_key"], one["code"]) for one in kept} == codes
    assert all(one["detail"] and one["refused_at"] for one in kept)
    assert_recorded(running, sent)
    assert list((tmp_path / "spool" / "writers").iterdir()) == []


def test_a_callback_that_fails_stops_nothing(
    running: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # import-linter, which another test runs, switches off what has logged before.
    monkeypatch.setattr(logging.getLogger("billtrack_client"), "disabled", False)

    def fail(_refused: Refused) -> None:
        raise KeyError("a fault of the caller")

    with made(running, on_refused=fail) as client:
        client.record(running.customer.id, "tea", 5)
        sent = record_many(client, running, range(120))
        assert client.close(timeout=60)
    assert_recorded(running, sent)
    assert "on_refused failed" in caplog.text


CUTS: list[Plan] = [
    Cut(request=0),
    Cut(request=100),
    Cut(request=700),
    Cut(answer=0),
    Cut(answer=1),
    Cut(answer=300),
    Cut(request=900),
    Cut(answer=420),
]


def test_a_network_that_is_cut_loses_and_doubles_nothing(running: Server, tmp_path: Path) -> None:
    with Proxy(running.installation.port, CUTS) as proxy:
        with made(running, proxy.url, spool=tmp_path / "spool") as client:
            sent = record_many(client, running, range(300))
            assert client.flush(timeout=60)
        assert (len(proxy.plans), proxy.connections > len(CUTS)) == (0, True)
    assert_recorded(running, sent)


ANSWERS: list[Plan] = [
    canned("503 Service Unavailable", b'{"code": "unavailable"}', Retry_After="1"),
    canned("429 Too Many Requests", b"{}", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
    canned("500 Internal Server Error"),
    canned("502 Bad Gateway", b"<h1>Bad Gateway</h1>"),
    canned("200 OK", b"<h1>Please sign in to the network</h1>"),
    canned("200 OK", b'{"accepted": 1, "duplicate": 0, "conflict": 0, "rejected": 0}'),
    canned(
        "200 OK", b'{"accepted": 1, "duplicate": 0, "conflict": 0, "rejected": 0, "results": []}'
    ),
    canned("204 No Content"),
    canned("302 Found", Location="https://elsewhere.example/"),
    canned("401 Unauthorized", b'{"code": "unauthenticated"}'),
    canned("404 Not Found"),
    canned("400 Bad Request", b"a proxy did not like it"),
    canned("413 Content Too Large", b"<h1>too large</h1>"),
    canned("422 Unprocessable Content", b'{"code": "invalid"}'),
]


def test_no_answer_but_the_right_one_lets_a_record_go(running: Server) -> None:
    refused: list[Refused] = []
    with Proxy(running.installation.port, ANSWERS) as proxy:
        with made(running, proxy.url, on_refused=refused.append) as client:
            sent = record_many(client, running, range(40))
            assert client.flush(timeout=60)
        assert len(proxy.plans) == 0
    assert refused == []
    assert_recorded(running, sent)


def test_one_record_is_refused_by_billtrack_and_by_no_proxy(running: Server) -> None:
    plans = [
        canned("400 Bad Request", b"a proxy did not like it"),
        canned("413 Content Too Large", b"<h1>too large</h1>"),
        canned("422 Unprocessable Content", b'{"code": "invalid", "detail": "no batch"}'),
    ]
    refused: list[Refused] = []
    with (
        Proxy(running.installation.port, plans) as proxy,
        made(running, proxy.url, on_refused=refused.append) as client,
    ):
        client.record(running.customer.id, "api_calls", 5, idempotency_key="k")
        assert client.flush(timeout=60)
    assert [(one.code, one.detail) for one in refused] == [("invalid", "no batch")]


def test_it_waits_as_long_as_it_is_asked(running: Server) -> None:
    plans = [canned("429 Too Many Requests", b"{}", Retry_After="300")]
    with Proxy(running.installation.port, plans) as proxy:
        client = made(running, proxy.url)
        record_many(client, running, range(2))
        assert not client.flush(timeout=1.5)
        assert proxy.connections == 1
        assert not client.close(timeout=0)


def test_without_a_spool_what_is_not_sent_is_handed_back(server: Server) -> None:
    refused: list[Refused] = []
    client = made(server, on_refused=refused.append)  # nobody answers
    sent = record_many(client, server, range(120))
    assert not client.close(timeout=0.1)
    assert not client.close()
    assert [one.record["idempotency_key"] for one in refused] == list(sent)
    assert {one.code for one in refused} == {"not_sent"}


def test_it_refuses_what_there_is_no_room_for(server: Server, tmp_path: Path) -> None:
    for spool in (None, tmp_path / "spool"):
        refused: list[Refused] = []
        limits = Limits(batch_records=10, longest_wait=0.2, max_bytes=5000)
        client = made(server, spool=spool, limits=limits, on_refused=refused.append)
        sent = record_many(client, server, range(100))
        keys = [one.record["idempotency_key"] for one in refused]
        assert {one.code for one in refused} == {"spool_full"}
        assert keys == list(sent)[-len(keys) :]
        assert 50 < len(keys) < 95
        client.close(timeout=0)
        stored = sum(path.stat().st_size for path in tmp_path.rglob("0*.jsonl"))
        assert (stored > 0) is (spool is not None)
        assert stored <= 5000


WRONG: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"user_id": "1"}, TypeError),
    ({"user_id": True}, TypeError),
    ({"user_id": 0}, ValueError),
    ({"event": "API"}, ValueError),
    ({"event": None}, TypeError),
    ({"quantity": 1.5}, TypeError),
    ({"quantity": 0}, ValueError),
    ({"quantity": 10**15 + 1}, ValueError),
    ({"occurred_at": datetime(2026, 10, 5)}, ValueError),  # noqa: DTZ001  (that is the fault)
    ({"occurred_at": "2026-10-05T00:00:00Z"}, ValueError),
    ({"idempotency_key": ""}, ValueError),
    ({"idempotency_key": "k" * 256}, ValueError),
    ({"idempotency_key": "a\nb"}, ValueError),
    ({"idempotency_key": b"key"}, TypeError),
    ({"metadata": {"a": {"b": 1}}}, TypeError),
    ({"metadata": {"a": None}}, TypeError),
    ({"metadata": {"a": float("nan")}}, ValueError),
    ({"metadata": {"a": "x" * 3000}}, ValueError),
]


def test_it_raises_for_wrong_arguments_and_after_its_end(server: Server) -> None:
    right = {"user_id": 1, "event": "api_calls", "quantity": 5}
    client = made(server)
    for wrong, kind in WRONG:
        with pytest.raises(kind):
            client.record(**{**right, **wrong})
    client.close(timeout=0)
    with pytest.raises(RuntimeError, match="closed"):
        client.record(1, "api_calls", 5)
    for url in ("localhost:6009", "ftp://localhost", "http://", ""):
        with pytest.raises(ValueError, match="url"):
            Client(url, "key")
    with pytest.raises(ValueError, match="batch_records"):
        Limits(batch_records=10_001)


def test_many_threads_record_at_once(running: Server, tmp_path: Path) -> None:
    sent: dict[str, Usage] = {}
    with made(running, spool=tmp_path / "spool") as client:
        threads = [
            threading.Thread(
                target=lambda n=n: sent.update(
                    record_many(client, running, range(n * 100, n * 100 + 100))
                )
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(timeout=60)
    assert len(sent) == 800
    assert_recorded(running, sent)
