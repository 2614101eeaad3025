"""Build the image, run it, then all of docker-compose.yml: `make docker-test`.

Needs Docker or Podman, Compose and Python, and nothing of .venv. The environment may name other
commands: BILLTRACK_ENGINE for containers, BILLTRACK_BUILD for building an image,
BILLTRACK_COMPOSE for Compose.
"""

from __future__ import annotations

import argparse

from tests.docker import image, stack
from tests.docker.engine import Engine

PARTS = {"image": image.try_image, "compose": stack.try_stack}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make docker-test", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    only = parser.parse_args().only
    engine = Engine()
    engine.build()
    for name, try_part in PARTS.items():
        if only in {None, name}:
            try_part(engine)


if __name__ == "__main__":
    main()
