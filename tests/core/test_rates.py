"""What a setting such as 600/minute says."""

from __future__ import annotations

import pytest

from billtrack.core.addresses import network_of
from billtrack.core.errors import InvalidError
from billtrack.core.rates import Rate, parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("off", None),
        ("1/second", Rate(1, 1)),
        ("600/minute", Rate(600, 60)),
        ("1000000000/hour", Rate(10**9, 3600)),
    ],
)
def test_it_reads_what_is_written(text: str, rate: Rate | None) -> None:
    assert parse_rate(text) == rate
    if rate is not None:
        assert str(rate) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "0/minute", "-1/minute", "1.5/minute", "600", "600/day", "600 / minute", "Off"),
        *("1000000001/hour", "٣/minute", "600/minutes", "600/minute\n"),
    ],
)
def test_it_refuses_other_words(text: str) -> None:
    with pytest.raises(InvalidError, match="600/minute"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (None, ""),
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:0:1::5", "20010db800000001/64"),
        ("2001:db8:0:1:ffff::", "20010db800000001/64"),
        ("2001:db8:0:2::5", "20010db800000002/64"),
    ],
)
def test_a_network_of_ipv6_counts_as_one(address: str | None, network: str) -> None:
    assert network_of(address) == network
