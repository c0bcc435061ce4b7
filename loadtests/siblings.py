"""Whether two processors are two, or two threads of one: how much a busy one slows the other.

On a virtual machine two processors are often the two threads of one core. Then what several
processes do at once costs each of them more processor time than it would cost alone, and a design
of several processes has less than two processors to itself. The figure is kept with every result,
so that results of different machines can be read beside each other.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["slowdown"]

LOOPS = 200_000
"""Some ten milliseconds of work."""
GOOD = 5
"""Tries of which the least counts, all of them while nobody else ran."""
TRIES_MAX = 100
RUNNING = Path("/proc/loadavg")
BUSY = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\nwhile 1: 1"


def slowdown() -> float | None:
    """Processor time of a piece of work beside a busy process on the next processor, over that of
    the same work alone. Near 1: two cores. 1.3 to 1.7: two threads of one. None where there is one
    processor, where others are at work all the time, or where this cannot be known (not Linux)."""
    if not RUNNING.exists() or not hasattr(os, "sched_setaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        return None
    mine, other = sorted(allowed)[:2]
    try:
        os.sched_setaffinity(0, {mine})
        alone = _least(running=1)
        if alone is None:
            return None
        busy = subprocess.Popen([sys.executable, "-c", BUSY, str(other)], stdout=subprocess.PIPE)
        try:
            assert busy.stdout is not None
            busy.stdout.readline()
            beside = _least(running=2)
        finally:
            busy.kill()
            busy.communicate()
    finally:
        os.sched_setaffinity(0, allowed)
    return None if beside is None else round(beside / alone, 2)


def _least(running: int) -> float | None:
    good: list[float] = []
    for _ in range(TRIES_MAX):
        before = _running()
        spent = _work()
        if before == _running() == running:
            good.append(spent)
            if len(good) == GOOD:
                return min(good)
        time.sleep(0.001)  # those who waited for the processor have their turn now
    return None


def _running() -> int:
    """Processes and threads that run now or wait for a processor."""
    return int(RUNNING.read_text().split()[3].partition("/")[0])


def _work() -> float:
    started, total = time.process_time(), 0
    for number in range(LOOPS):
        total += number * number % 7
    return time.process_time() - started
