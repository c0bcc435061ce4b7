"""Whether this process reaches the journal, and how work waits until it does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from actors.engine.ports import JournalUnavailable

__all__ = ["JournalHealth", "until_journal_answers"]

log = structlog.get_logger(__name__)

PAUSE_FIRST_S = 0.05
"""Real seconds before what did not reach the journal is tried again; each time twice as long."""
PAUSE_MAX_S = 1.0
"""Real seconds between two tries at most."""

T = TypeVar("T")


class JournalHealth:
    """Whether this process reaches the journal: told by every call, read before commands are
    taken. Away means that commands are answered at once instead of waiting in vain."""

    def __init__(self) -> None:
        self.away = False

    def failed(self, error: JournalUnavailable) -> None:
        """A call did not reach the journal."""
        if not self.away:
            log.warning("journal.away", error=str(error))
        self.away = True

    def worked(self) -> None:
        """A call did."""
        if self.away:
            log.info("journal.back")
        self.away = False


async def until_journal_answers(work: Callable[[], Awaitable[T]], health: JournalHealth) -> T:
    """What ``work`` returns, which is done from its start again, for ever, as long as it raises
    JournalUnavailable; ``health`` is told."""
    pause = PAUSE_FIRST_S
    while True:
        try:
            result = await work()
        except JournalUnavailable as error:
            health.failed(error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_MAX_S)
        else:
            health.worked()
            return result
