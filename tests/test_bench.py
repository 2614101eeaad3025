"""What `make bench` says of its figures: turns taken, ratios, CPU time, goals that were missed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from bench import __main__ as program
from bench import baseline, load
from bench.cpu import family, find_backends, find_listeners, metered, tree_seconds
from bench.load import Target
from bench.measure import Result, Round, Rounds, Sample, alternate
from bench.outcome import Outcome
from bench.records import PEER_GOAL
from bench.run import Run
from tests.services import GivenPostgresServer, PostgresServer, unique_name

BUSY = """
import os, signal, sys, time

def work(seconds):
    while time.process_time() < seconds:
        pass

def used():
    times = os.times()
    return times.user + times.system

if os.fork() == 0:
    work(0.2)
    os._exit(0)
os.wait()
read_end, write_end = os.pipe()
child = os.fork()
if child == 0:
    work(0.3)
    os.write(write_end, str(used()).encode())
    signal.pause()
work(0.4)
of_child = float(os.read(read_end, 100))
ended = os.times()
print(child, used() + ended.children_user + ended.children_system + of_child, flush=True)
sys.stdin.readline()
work(0.8)
print(used(), flush=True)
sys.stdin.read()
os.kill(child, signal.SIGKILL)
"""
"""Two processes at work, and one that has ended; it tells the CPU time of all three. A line makes
the first work on, until its own CPU time is 0.8 seconds."""

Busy = tuple[subprocess.Popen[bytes], int, float]


@pytest.fixture
def busy() -> Iterator[Busy]:
    """Run it; return it, the id of its child, and the seconds that it tells."""
    command = [sys.executable, "-c", BUSY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child, seconds = process.stdout.readline().split()
        yield process, int(child), float(seconds)
        process.communicate(b"")


def test_it_takes_turns_and_another_is_first_each_time() -> None:
    turns: list[str] = []

    def noting(name: str) -> Round:
        def once() -> Sample:
            turns.append(name)
            return Sample(len(turns), p50=5, cpu=7 if len(turns) > 1 else None)

        return once

    figure, limit, before, peer = alternate(
        4, noting("figure"), noting("limit"), baseline=noting("baseline"), peer=noting("peer")
    )
    rounds = [turns[n : n + 4] for n in range(0, 16, 4)]
    everyone = {"figure", "baseline", "limit", "peer"}
    assert all(set(one) == everyone for one in rounds)
    assert all({one[place] for one in rounds} == everyone for place in range(4))
    followed = {pair for one in rounds for pair in pairwise(one)}
    assert len(followed) == 4 * 3  # each has come right after each other one
    for name, taken in zip(
        ("figure", "limit", "baseline", "peer"), (figure, limit, before, peer), strict=True
    ):
        assert taken is not None
        assert list(taken.values) == [n + 1 for n, turn in enumerate(turns) if turn == name]
        assert list(taken.p50) == [5] * 4
        # The first round of the figure knew no CPU time.
        assert list(taken.cpu) == ([] if name == "figure" else [7] * 4)


def test_it_compares_with_a_limit_alone() -> None:
    turns: list[str] = []

    def noting(name: str) -> Round:
        def once() -> Sample:
            turns.append(name)
            return Sample(1)

        return once

    _, _, before, peer = alternate(3, noting("figure"), noting("limit"))
    assert turns == ["figure", "limit", "limit", "figure", "figure", "limit"]
    assert (before, peer) == (None, None)


def test_it_compares_round_by_round_and_more_is_better() -> None:
    slow, quick = Rounds([10, 30, 20]), Rounds([20, 20, 20])
    rate = Result("r", "/s", quick, peer=slow)
    time = Result("t", "ms", quick, peer=slow)
    rate_ratio, time_ratio = rate.ratio_to(rate.peer), time.ratio_to(time.peer)
    assert rate_ratio is not None
    assert time_ratio is not None
    assert rate_ratio.median == 1
    assert list(rate_ratio.values) == [2, 20 / 30, 1]
    assert list(time_ratio.values) == [0.5, 1.5, 1]


def test_it_compares_cpu_time_round_by_round_where_both_are_known() -> None:
    ours = Rounds([1, 1, 1], cpu=[100, 300, 200])
    result = Result("r", "/s", ours)
    ratio = result.cpu_ratio_to(Rounds([1, 1, 1], cpu=[200, 200, 200]))
    assert ratio is not None
    assert list(ratio.values) == [0.5, 1.5, 1]
    assert result.cpu_ratio_to(Rounds([1, 1, 1])) is None
    assert result.cpu_ratio_to(None) is None


@pytest.mark.parametrize(
    ("result", "misses"),
    [
        (Result("a", "ms", Rounds([6]), goal=5), ["5 ms"]),
        (Result("a", "ms", Rounds([5]), goal=5), []),
        (Result("a", "/s", Rounds([5]), goal=6), ["6 /s"]),
        (Result("a", "/s", Rounds([13]), peer=Rounds([10]), peer_goal=1.4), ["1.4 times the peer"]),
        (Result("a", "/s", Rounds([14]), peer=Rounds([10]), peer_goal=1.4), []),
        (Result("a", "/s", Rounds([14]), peer_goal=1.4), []),
        (Result("a", "/s", Rounds([94]), baseline=Rounds([100])), ["0.95 times the baseline"]),
        (Result("a", "/s", Rounds([95]), baseline=Rounds([100])), []),
        # The median of the ratios counts, not the ratio of the medians.
        (Result("a", "/s", Rounds([1, 9, 50]), baseline=Rounds([1, 10, 5])), []),
    ],
)
def test_it_names_the_goals_that_are_missed(result: Result, misses: list[str]) -> None:
    assert result.misses == misses


def test_it_counts_the_cpu_time_of_all_processes_of_a_server(busy: Busy) -> None:
    process, child, seconds = busy
    assert family([process.pid]) == {process.pid, child}
    assert family([process.pid, child]) == {process.pid, child}
    assert seconds > 0.7
    assert tree_seconds([process.pid]) == pytest.approx(seconds, abs=0.1)
    assert tree_seconds([child]) == pytest.approx(0.3, abs=0.1)
    assert tree_seconds([2**22 + 1]) == 0  # no process has such an id


def test_it_divides_the_cpu_time_of_a_round_by_its_requests(busy: Busy) -> None:
    process, *_ = busy

    def work() -> Sample:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline()
        return Sample(1000, count=500)

    sample = metered(work, Target("", (), pids=[process.pid]))()
    assert sample.cpu == pytest.approx(1e6 * (0.8 - 0.4) / 500, rel=0.25)
    assert (sample.value, sample.count, sample.database_cpu) == (1000, 500, None)


def test_it_knows_no_cpu_time_without_processes() -> None:
    assert metered(lambda: Sample(1, count=1), Target("", ()))().cpu is None


def test_it_finds_the_processes_that_listen_on_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert find_listeners(port) == [os.getpid()]
        with socket.create_connection(("127.0.0.1", port)):
            pass
    assert find_listeners(port) == []


def test_it_takes_no_process_of_this_machine_for_a_peer_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = []
        for host in ("127.0.0.1", "peer.example"):
            monkeypatch.setenv("BENCH_PEER_URL", f"http://{host}:{port}/")
            peer = Run().peer
            assert peer is not None
            found.append(list(peer.pids))
    assert found == [[os.getpid()], []]


def test_it_counts_the_backends_of_a_database_apart(
    postgres: PostgresServer | GivenPostgresServer,
) -> None:
    if isinstance(postgres, GivenPostgresServer):
        pytest.skip("the processes of this PostgreSQL may be on another machine")
    name = unique_name()
    url = postgres.create_database(name)
    query = "SELECT count(*) FROM generate_series(1, 3000000)"
    try:
        with psycopg.connect(url) as connection:
            assert find_backends(name) == [connection.info.backend_pid]

            def work() -> Sample:
                connection.execute(query)
                return Sample(1, count=10)

            sample = metered(work, Target("", (), backends_of=name))()
        assert sample.database_cpu is not None
        assert sample.database_cpu > 1e6 * 0.05 / 10
        assert sample.cpu is None
    finally:
        postgres.drop_database(name)


def test_it_says_how_to_make_a_baseline_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hint = f"{tmp_path} has no .venv of its own. Make it: cd {tmp_path} && scripts/set-up run"
    assert baseline.missing(tmp_path) == hint
    monkeypatch.setenv("BENCH_BASELINE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["bench", "records"])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == f"BENCH_BASELINE: {hint}"


def test_it_refuses_a_baseline_whose_python_loads_another_checkout(tmp_path: Path) -> None:
    # A copy of this folder is such a one.
    (tmp_path / ".venv").symlink_to(sys.prefix)
    assert (tmp_path / ".venv/bin/billtrack").exists()
    reason = baseline.missing(tmp_path)
    assert reason is not None
    assert reason.startswith(f"{tmp_path} has no .venv of its own")
    assert baseline.missing(Path(sys.prefix).parent) is None


def test_it_prints_and_keeps_all_that_is_beside_a_figure() -> None:
    result = Result(
        "record",
        "/s",
        Rounds([200, 400], p50=[1, 2], p99=[3, 4], cpu=[90, 110], database_cpu=[40, 60]),
        "an empty route",
        Rounds([400, 800], cpu=[50, 50]),
        baseline=Rounds([200, 500], cpu=[100, 100]),
        peer=Rounds([100, 100]),
        peer_goal=PEER_GOAL,
    )
    found = Outcome(Run(), datetime(2026, 1, 1, tzinfo=UTC))
    figure, limit, before, peer = (
        line.split() for line in found.add("postgresql", result).splitlines()
    )
    assert figure == ["postgresql", "record", "300", "/s", "1.5", "3.5", "100", "50"]
    assert " ".join(limit) == "an empty route 600 /s 50 0.50 (0.50 to 0.50) 2.00 (1.80 to 2.20)"
    assert " ".join(before) == "baseline 350 /s 100 0.90 (0.80 to 1.00) 1.00 (0.90 to 1.10)"
    assert " ".join(peer) == "peer 100 /s 3.00 (2.00 to 4.00)"
    kept = found.figures[0]
    assert kept["figure"]["cpu_us"] == {"median": 100, "rounds": [90, 110]}
    assert kept["times_baseline"] == {"median": 0.9, "rounds": [1, 0.8]}
    assert kept["times_cpu_of_baseline"]["rounds"] == [0.9, 1.1]
    assert kept["times_cpu_of_peer"] is None
    assert found.misses == ["postgresql, record: 0.95 times the baseline"]


def test_it_names_the_package_of_a_missing_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PROGRAM", "no-such-program")
    reason = load.missing()
    assert reason is not None
    assert "apt-get install wrk" in reason
