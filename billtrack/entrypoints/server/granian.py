"""Granian, as billtrack starts it: `python -m billtrack.entrypoints.server.granian …`.

Takes Granian's own arguments. Its main process outlives its workers, so it is the one that
clears away what they shared.
"""

from __future__ import annotations

from granian.cli import entrypoint

from billtrack.platform.metrics.sharing import shared_counts


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    with shared_counts():
        entrypoint()


if __name__ == "__main__":
    main()
