"""A process that records usage through the client until it is killed, or forks and ends.

python -m tests.client.recorder URL SPOOL USER PREFIX forever|fork, with the key in API_KEY
"""

from __future__ import annotations

import os
import sys
import time
from itertools import count

from billtrack_client import Client, Limits

LIMITS = Limits(batch_records=40, batch_seconds=0.05, timeout=10, longest_wait=0.2)
PART = 100


def record(client: Client, user_id: int, key: str, number: int) -> None:
    """Record, and say so once it is kept."""
    client.record(user_id, "api_calls", number + 1, idempotency_key=f"{key}-{number}")
    print(f"{key}-{number}", flush=True)


def main() -> None:
    url, spool, user, prefix, way = sys.argv[1:]
    client = Client(url, os.environ["API_KEY"], spool=spool, limits=LIMITS)
    if way == "forever":
        for number in count():
            record(client, int(user), prefix, number)
            time.sleep(0.001)  # or there are too many to send while a server starts
    for number in range(PART):
        record(client, int(user), f"{prefix}-before", number)
    child = os.fork()
    name = "parent" if child else "child"
    for number in range(PART):
        record(client, int(user), f"{prefix}-{name}", number)
    is_sent = client.close(timeout=60)
    if child == 0:
        os._exit(0 if is_sent else 1)
    _, status = os.waitpid(child, 0)
    sys.exit(0 if is_sent and status == 0 else 1)


if __name__ == "__main__":
    main()
