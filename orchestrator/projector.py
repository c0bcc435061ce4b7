"""The ledger's projector as a process of its own, behind the service in priority.

Nobody waits for it: in a rush the ledger falls behind and catches up afterwards (see ``pace.py``).
In a process of its own the supervisor's and the gateways' event loops never wait for it, and the
scheduler gives it less than those who are waited for.
"""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import uvloop

from actors.engine.collector import calm_collector
from orchestrator import logs
from orchestrator.bootstrap import project
from orchestrator.settings import Settings

__all__ = ["main"]

log = logs.logger(__name__)

NICENESS = 5
WATCH_S = 1.0


async def run(settings: Settings) -> None:
    """Project until SIGTERM, or until the supervisor is gone."""
    projecting = asyncio.create_task(project(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, projecting.cancel)
    watching = asyncio.create_task(_until_orphaned())
    await asyncio.wait((projecting, watching), return_when=asyncio.FIRST_COMPLETED)
    for task in (projecting, watching):
        task.cancel()
    await asyncio.gather(projecting, watching, return_exceptions=True)


async def _until_orphaned() -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 -- nothing tells of a parent's death
        await asyncio.sleep(WATCH_S)


def _step_back() -> None:
    """Take less of the processor than the service. Linux groups the processes of a session and
    weighs the groups first: niceness alone counts among the projector's own threads, of which it
    has one, so its group is made nice as well."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))


def main() -> None:
    """``python -m orchestrator.projector``, started by the supervisor with its settings."""
    settings = Settings()
    file = settings.data / "logs" / "projector.log"
    logs.configure(settings.model_copy(update={"log_json": True}), file.open("a", buffering=1))
    _step_back()
    calm_collector()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except Exception:
        log.exception("projector.failed")
        os._exit(1)


if __name__ == "__main__":
    main()
