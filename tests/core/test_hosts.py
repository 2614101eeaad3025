"""Under which names billtrack answers."""

from __future__ import annotations

import pytest

from billtrack.core.errors import InvalidError
from billtrack.core.hosts import is_trusted, parse_hosts

KNOWN = frozenset({"billing.example.com", "intern.example.com"})


@pytest.mark.parametrize(
    "host",
    [
        *("billing.example.com", "Billing.Example.COM", "billing.example.com:8443"),
        *("billing.example.com.", "billing.example.com.:80", "intern.example.com"),
        *("localhost", "localhost:6009", "app.localhost", "web", "web:6009", "my_machine"),
        *("127.0.0.1:6009", "203.0.113.5", "[::1]:6009", "[2001:db8::1]", "host.docker.internal"),
    ],
)
def test_it_answers_to_names_that_nobody_else_can_have(host: str) -> None:
    assert is_trusted(host, KNOWN)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:6009", "billing.example.com.evil.example", "example.com"),
        *("xbilling.example.com", "sub.billing.example.com", "127.0.0.1.evil.example"),
        *("127.0.0.1@evil.example", "billing.example.com:80@evil.example", "a b", "a/b", "a?b"),
        *("billing.example.com:port", "billing.example.com:123456", "billing.example.com:80:80"),
        *("[::1", "::1]", "[evil.example]", "bіlling.example.com", '"', "<script>", "a\tb"),
        *("x" * 254, "evil.internal.example", "localhost.evil.example", ".", "..", "-"),
    ],
)
def test_it_does_not_answer_to_others(host: str) -> None:
    assert not is_trusted(host, KNOWN)


def test_it_reads_a_list() -> None:
    assert parse_hosts(" a.example, B.example,, 203.0.113.5 ") == {
        *("a.example", "b.example", "203.0.113.5")
    }
    assert parse_hosts("") == frozenset()


@pytest.mark.parametrize("text", ["https://a.example", "a.example:80", "*.example", "a b", "a/b"])
def test_it_refuses_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidError, match="without scheme and port"):
        parse_hosts(text)
