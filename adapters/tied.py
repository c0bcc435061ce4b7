"""Run a command that ends with the process that started it: ``tied.py <pid> <command> …``.

Linux sends SIGKILL to a process that asked for it (``PR_SET_PDEATHSIG``) when its parent dies,
however the parent died. The wish outlives ``exec``, so a small Python asks for it and becomes the
command; a hook between fork and exec would run beside the parent's threads, which is not safe.
Elsewhere than on Linux the command just runs.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

__all__ = ["tied"]

PR_SET_PDEATHSIG = 1


def tied(*command: str) -> list[str]:
    """``command`` for ``exec``, tied to the calling thread's life; its pid is the command's."""
    return [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid()), *command]


def _become(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
