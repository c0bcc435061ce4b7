"""Whoever would outlive a process ends with it, and nobody else does."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from adapters.survivors import survivors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux process handles")

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    started = [subprocess.Popen(SLEEP) for _ in range(3)]
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_those_that_were_named_end_when_the_input_ends_and_others_live_on(
    sleepers: list[subprocess.Popen[bytes]],
) -> None:
    first, second, stranger = sleepers
    watcher = subprocess.Popen(survivors(), stdin=subprocess.PIPE)
    gone = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    gone.wait()
    names = [first.pid, gone.pid, second.pid]
    watcher.communicate("".join(f"{pid}\n" for pid in [*names, "nonsense"]).encode())
    assert watcher.returncode == 0
    assert (first.wait(), second.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
    assert stranger.poll() is None


def test_they_end_when_the_process_that_named_them_is_killed(
    sleepers: list[subprocess.Popen[bytes]],
) -> None:
    """The naming process dies without a word: its end of the pipe closes with it."""
    named = sleepers[0]
    program = f"""
import subprocess, sys, time
watcher = subprocess.Popen({survivors()!r}, stdin=subprocess.PIPE, start_new_session=True)
watcher.stdin.write(b"{named.pid}\\n")
watcher.stdin.flush()
print("named", flush=True)
time.sleep(600)
"""
    naming = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert naming.stdout is not None
    assert naming.stdout.readline() == b"named\n"
    assert named.poll() is None
    os.kill(naming.pid, signal.SIGKILL)
    naming.wait()
    assert named.wait() == -signal.SIGKILL
