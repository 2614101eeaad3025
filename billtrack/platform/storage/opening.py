"""Open the storage that the settings name."""

from __future__ import annotations

from pathlib import Path

from billtrack.platform.storage.local import LocalStorage
from billtrack.platform.storage.storage import Storage, StorageMissing


def open_storage(url: str | None, *, folder: Path) -> Storage:
    """Return the storage at the `s3://bucket/prefix` address, or the folder without one.

    Raises StorageMissing when the package that speaks to object stores is not installed.
    """
    if url is None:
        return LocalStorage(folder)
    try:
        from billtrack.platform.storage.object_storage import ObjectStorage  # noqa: PLC0415
    except ImportError as error:
        raise StorageMissing("s3:// storage needs one more package: pip install obstore") from error
    return ObjectStorage(url)
