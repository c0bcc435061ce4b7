"""The way of appends to the disk: those of a node's shards go together, one fsync for all."""

import asyncio
from collections.abc import Callable
from functools import partial

from actors.engine.journal_health import JournalHealth, until_journal_answers
from actors.engine.ports import Append, Journal
from domain.errors import Problem

__all__ = ["AppendQueue", "Early", "Queued"]

GATHER_TURNS = 1
"""Turns of the loop after which an append no longer waits for others to come along: a turn of a
busy node takes milliseconds, and what waits for the disk keeps everybody else waiting."""


class AppendQueue:
    """All appends of a node, in one round trip at a time: one fsync serves every shard.

    A round trip is stored whole or not at all, and one after the other. So a shard may build on
    what another shard of the node has only queued (see :class:`Early`): either both are on disk or
    the second is not. While a round trip is in flight, the next one fills. An unreachable journal
    is retried with the same appends for ever; :attr:`health` tells that it is so.
    """

    def __init__(self, journal: Journal) -> None:
        self.health = JournalHealth()
        self._journal = journal
        self._waiting: list[tuple[Append, Queued]] = []
        self._wake = asyncio.Event()
        self._count = 0
        self._over = False

    def put(self, append: Append) -> "Queued":
        """Queue one append. Its future is True once stored, False if a writer of the node was
        fenced: then nothing of that round trip is stored, nor of any later one."""
        self._count += 1
        stored = Queued(self._count)
        if self._over:
            stored.set_result(False)
        else:
            self._waiting.append((append, stored))
            self._wake.set()
        return stored

    async def run(self) -> None:
        """Write until a writer of the node is fenced."""
        while not self._over:
            await self._wake.wait()
            await self._gathered()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            write = partial(self._journal.append, [append for append, _ in batch])
            if await until_journal_answers(write, self.health):
                self._over = True
                batch, self._waiting = batch + self._waiting, []
            for _, stored in batch:
                if not stored.done():
                    stored.set_result(not self._over)

    async def _gathered(self) -> None:
        """Let the shards of this process finish what they have at hand: what one stores because of
        what another stores a moment before it goes to disk together with that."""
        for _ in range(GATHER_TURNS):
            count = len(self._waiting)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if len(self._waiting) == count:
                return


class Queued(asyncio.Future[bool]):
    """An append on its way: whether it came to disk. ``number`` orders those of a process."""

    def __init__(self, number: int) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.number = number


class Early:
    """How a shard answers a neighbour in the same process: without waiting for the disk.

    The neighbour's own append goes to disk with the answer's or after it, never before or without
    it (see :class:`AppendQueue`); what it says to others without an append of its own waits for
    ``stored``.
    """

    __slots__ = ("_take",)

    def __init__(self, take: Callable[[bytes | Problem, Queued | None], None]):
        self._take = take

    def __call__(self, reply: bytes | Problem, stored: Queued | None = None) -> None:
        """Give the answer; ``stored`` is the append it depends on, None if that is on disk."""
        self._take(reply, stored)
