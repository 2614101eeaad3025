"""What `make bench` says of its figures: turns taken, ratios, goals that were missed."""

from __future__ import annotations

import pytest

from bench import load
from bench.measure import Result, Rounds, alternate


def test_it_takes_turns_so_that_a_slow_moment_slows_all() -> None:
    turns: list[str] = []

    def noting(name: str) -> float:
        turns.append(name)
        return float(len(turns))

    figure, limit, peer = alternate(
        2, lambda: noting("figure"), lambda: noting("limit"), lambda: noting("peer")
    )
    assert turns == ["figure", "limit", "peer"] * 2
    assert (figure, limit, peer) == (Rounds([1, 4]), Rounds([2, 5]), Rounds([3, 6]))


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


@pytest.mark.parametrize(
    ("result", "misses"),
    [
        (Result("a", "ms", Rounds([6]), goal=5), ["5 ms"]),
        (Result("a", "ms", Rounds([5]), goal=5), []),
        (Result("a", "/s", Rounds([5]), goal=6), ["6 /s"]),
        (Result("a", "/s", Rounds([13]), peer=Rounds([10]), peer_goal=1.4), ["1.4 times the peer"]),
        (Result("a", "/s", Rounds([14]), peer=Rounds([10]), peer_goal=1.4), []),
        (Result("a", "/s", Rounds([14]), peer_goal=1.4), []),
    ],
)
def test_it_names_the_goals_that_are_missed(result: Result, misses: list[str]) -> None:
    assert result.misses == misses


def test_it_names_the_package_of_a_missing_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PROGRAM", "no-such-program")
    reason = load.missing()
    assert reason is not None
    assert "apt-get install wrk" in reason
