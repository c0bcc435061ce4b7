"""Ends processes that would outlive the one that started them: ``survivors.py``.

For processes that cannot be tied (see ``tied.py``) because somebody else starts them: Ray's agents,
which notice only after a minute that their Ray has died. The process that would be outlived writes
their ids to this one's standard input, one a line. When that input ends, whichever way, they are
killed. Each is held by a handle from the moment its id was read, so that nothing that is given the
same id later is ever hit. Elsewhere than on Linux it does nothing.
"""

import os
import signal
import sys
from pathlib import Path

__all__ = ["survivors"]


def survivors() -> list[str]:
    """The command for ``exec``. Give it a session of its own, so that no terminal ends it."""
    return [sys.executable, "-I", "-S", str(Path(__file__))]


def _watch() -> None:
    handles: list[int] = []
    for line in sys.stdin:
        try:
            handles.append(os.pidfd_open(int(line)))
        except (OSError, ValueError):
            continue  # it has ended already
    for handle in handles:
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except OSError:
            continue


if __name__ == "__main__" and sys.platform == "linux":
    _watch()
