"""Tie the life of a process to the life of its parent, even through kill -9.

The kernel is asked (Linux: PR_SET_PDEATHSIG) to kill a process as soon as the
thread that started it ends. The request survives exec but not fork, so:

- `billtrack up` starts its children through this file, run as a script, which
  makes the request and then becomes the command. Nothing runs between fork and
  exec in a parent that has threads, which is what `preexec_fn` would do.
- Processes that multiprocessing starts (Granian's workers, the rendering pool)
  call `die_with_parent()` first of all.

Elsewhere than on Linux both do nothing. Standard library only.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1

NEW_OBJECTS = 20_000
"""After so many the garbage collector looks for cycles among them; Python's own is 700."""


TURN_SECONDS = 0.0005
"""How long a thread keeps Python from others that want it; Python's own is ten times that.

Beside four who load the overview page a record was read within 60 ms, in place of 135 (99 %).
"""


def settle() -> None:
    """Make a process ready to serve, once all is loaded: see what the constants say.

    What is loaded leaves the garbage collector's sight: it stays as long as the process does, and
    looking through it again and again would hold a request up for a tenth of a second now and
    then. What comes later is looked through less often: the ten thousand records of a batch are
    no garbage. And threads take shorter turns, as the event loop waits for each of its own.
    """
    sys.setswitchinterval(TURN_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)


def die_with(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent, `parent_pid`, ends.

    Ends this process at once if that parent is gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(1)


def die_with_parent() -> None:
    """Let a process started by multiprocessing end with its parent; leave others alone."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        die_with(parent.pid)


def tied_command(command: Sequence[str]) -> list[str]:
    """Return `command` as a child of this process that ends with it.

    Start it in a thread that lives as long as the child shall live.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main(arguments: Sequence[str]) -> None:
    """Tie this process to the parent named first, then become the command that follows."""
    parent_pid, *command = arguments
    die_with(int(parent_pid))
    # Python ignores SIGPIPE, and what is ignored stays so through exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606  (argv comes from our own code, no shell)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
