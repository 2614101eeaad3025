"""Files in an object store, on a real S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from billtrack.platform.process import tied_command
from billtrack.platform.storage.object_storage import ObjectStorage, StorageUnavailable
from billtrack.platform.storage.opening import open_storage
from billtrack.platform.storage.storage import DocumentGone
from tests.scenarios.harness import eventually
from tests.services.processes import free_port

BUCKET = "billtrack-test"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server that speaks S3, with one bucket."""
    port = free_port()
    program = str(Path(sys.executable).with_name("moto_server"))
    server = subprocess.Popen(
        tied_command([program, "--port", str(port)]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    eventually(lambda: _created(client), "the bucket", seconds=60)
    yield url
    server.kill()
    server.wait()


@pytest.fixture
def storage(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStorage:
    """A storage under a prefix of the bucket, set up as an installation would."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT", endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    found = open_storage(f"s3://{BUCKET}/reports", folder=Path("unused"))
    assert isinstance(found, ObjectStorage)
    return found


def test_it_keeps_a_file_and_gives_it_back(storage: ObjectStorage) -> None:
    stored = storage.put("23/1/user-1.pdf", b"content")
    assert (stored.path, stored.size) == ("23/1/user-1.pdf", 7)
    assert storage.open("23/1/user-1.pdf").read() == b"content"


def test_it_removes_a_folder_and_nothing_beside_it(storage: ObjectStorage) -> None:
    storage.put("7/1/a.pdf", b"a")
    storage.put("7/2/b.pdf", b"b")
    storage.put("77/1/c.pdf", b"c")
    storage.remove("7")
    for path in ("7/1/a.pdf", "7/2/b.pdf"):
        with pytest.raises(DocumentGone, match="Generate the report again"):
            storage.open(path)
    assert storage.open("77/1/c.pdf").read() == b"c"


def test_it_lists_what_is_below_its_prefix(storage: ObjectStorage) -> None:
    alone = ObjectStorage(f"s3://{BUCKET}/listed")
    assert list(alone.list_paths()) == []
    for path in ("7/1/a.pdf", "8/1/b.pdf"):
        alone.put(path, b"x")
    assert sorted(alone.list_paths()) == ["7/1/a.pdf", "8/1/b.pdf"]


def test_it_says_that_the_store_refuses(
    endpoint: str, storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = ObjectStorage("s3://no-such-bucket/reports")
    with pytest.raises(StorageUnavailable, match="refused"):
        elsewhere.put("1/1/a.pdf", b"a")
    with pytest.raises(StorageUnavailable, match="refused"):
        list(elsewhere.list_paths())


def _created(client: object) -> bool:
    try:
        client.create_bucket(Bucket=BUCKET)  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001 (the server is still starting)
        return "BucketAlready" in str(error)
    return True
