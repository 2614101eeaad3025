"""The very first start: a link that makes the administrator, once, and clear refusals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.harness import Browser, Installation, Running

PASSWORD = "a sentence is easier than a riddle"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("first-start") / "made-by-it")


@pytest.fixture(scope="module")
def up(installation: Installation) -> Iterator[Running]:
    with installation.start("up") as up:
        up.wait_for("Press Ctrl-C to stop")
        yield up


def test_the_printed_link_makes_the_administrator_once(
    installation: Installation, up: Running
) -> None:
    address = up.wait_for(r"\(this link works once\): (\S+)$")[1]
    link = address.removeprefix(f"http://localhost:{installation.port}")
    browser = Browser(installation)
    assert browser.get("/set-up").status == 403
    assert browser.get("/set-up?token=" + "x" * 43).status == 403
    assert "Create the first administrator" in browser.get(link).text

    fields = {"name": "Ada", "email": "ada@test.example"}
    wrong = browser.submit(link, **fields, password=PASSWORD, password_again="something else")
    assert wrong.status == 422
    made = browser.submit(link, **fields, password=PASSWORD, password_again=PASSWORD)
    assert (made.status, made.headers["Location"]) == (303, "/sign-in")
    assert browser.get(link).status == 404
    assert Browser(installation).sign_in("ada@test.example", PASSWORD).status == 303


def test_a_second_start_on_the_same_port_refuses_in_one_sentence(
    installation: Installation, up: Running
) -> None:
    for command in ("up", "serve"):
        again = installation.run(command)
        assert (again.returncode, again.stdout) == (1, "")
        assert again.stderr.count("\n") == 1
        assert f"port {installation.port}" in again.stderr
        assert "BILLTRACK_PORT" in again.stderr


def test_another_time_zone_refuses_to_start_in_one_sentence(
    installation: Installation, up: Running
) -> None:
    other = Installation(installation.folder, BILLTRACK_TIMEZONE="Europe/Berlin")
    refused = other.run("up")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "BILLTRACK_TIMEZONE=UTC" in refused.stderr
