"""The shell of one shard: gives the sans-I/O host its journal, its mailbox and its timers.

While one append is on its way to disk the next batch is already being decided; what a step wants
to say leaves only when its own append has been acknowledged.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

import structlog

from actors.engine.appends import AppendQueue, Early, Queued
from actors.engine.cold_loads import ColdLoads
from actors.engine.host import Host
from actors.engine.id_filter import IdFilter
from actors.engine.journal_health import until_journal_answers
from actors.engine.kind import NEVER
from actors.engine.ports import (
    JOURNAL_AWAY,
    Append,
    Clock,
    Journal,
    JournalUnavailable,
    Record,
    Shard,
)
from actors.engine.recovery import recover
from actors.engine.step import Arrival, AskAnswered, Deliver, Outgoing, Reply, Step
from domain.errors import Busy, Problem, Unavailable

__all__ = ["Outbound", "Shell"]

log = structlog.get_logger(__name__)

MAILBOX_MAX = 8192
"""Arrivals a shard may have waiting; beyond it commands are answered ``busy``."""
BATCH_MAX = 16
"""Arrivals decided in one step. Small, so that what is decided is on its way to the disk while the
next step is made; appends of several steps still share one round trip and one fsync."""
APPENDS_IN_FLIGHT = 8
"""Steps decided ahead of the disk."""
SNAPSHOT_EVERY_RECORDS = 4_000
"""Records after which a snapshot pass starts."""
SNAPSHOT_EVERY_ENTRIES = 40_000
"""Entries after which one starts, if that is sooner."""
SNAPSHOT_EVERY_S = 30.0
"""Real seconds after which one starts, if that is sooner still."""
SNAPSHOT_SLICE = 100
"""Entities per slice at most."""
SNAPSHOT_SLICE_BYTES = 200_000
"""Bytes after which a slice ends: about a millisecond of encoding."""


class Outbound(Protocol):
    """Where a shell's messages go: the node routes them."""

    def send(self, shard: Shard, outgoing: Outgoing) -> None:
        """Deliver; the answer comes back to the shard as an arrival."""
        ...

    def committed(self, shard: Shard, position: int, record: Record) -> None:
        """A record is on disk."""
        ...


class Shell:
    """One shard in a process: recovery, mailbox, append pipeline, timers, snapshots."""

    def __init__(
        self,
        host: Host,
        journal: Journal,
        appends: AppendQueue,
        clock: Clock,
        outbound: Outbound,
        *,
        on_reply: Callable[[Any, bytes | Problem], None],
        on_fenced: Callable[[Shard], None],
    ) -> None:
        self.host = host
        self.shard = host.shard
        self.cold = IdFilter()
        self.committed = 0
        self.epoch = 0
        self.ready = asyncio.Event()
        self.closed = False
        self._journal = journal
        self._appends = appends
        self._clock = clock
        self._outbound = outbound
        self._on_reply = on_reply
        self._on_fenced = on_fenced
        self._mailbox: deque[Arrival] = deque()
        self._answers: deque[Arrival] = deque()
        """Answers to our own questions go first: what is begun is finished before more is begun, so
        that somebody is answered. There are no more of them than commands that were begun."""
        self._arrived = asyncio.Event()
        self._loads = ColdLoads(self.cold)
        self._leaning: Queued | None = None
        self._in_flight: deque[tuple[Step, Queued]] = deque()
        self._appended = asyncio.Event()
        self._room = asyncio.Semaphore(APPENDS_IN_FLIGHT)
        self._since_snapshot = 0
        self._entries_since_snapshot = 0
        self._snapshot_due = 0.0
        self._snapshot_task: asyncio.Task[None] | None = None
        self._progress: asyncio.Future[None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._load_tasks: set[asyncio.Task[None]] = set()

    # ---------------------------------------------------------------- mailbox

    def put(self, arrival: Arrival) -> None:
        """Take an arrival. A command beyond the bound, or while the journal is away, is answered
        at once; answers to our own questions and effects always get in."""
        if type(arrival) is Deliver:
            refusal = self._refusal()
            if refusal is not None:
                if arrival.handle is not None:
                    self._on_reply(arrival.handle, refusal)
                return
        waiting = self._answers if type(arrival) is AskAnswered else self._mailbox
        waiting.append(arrival)
        self._arrived.set()

    def lean(self, stored: Queued) -> None:
        """The next arrival is an early answer: what this shard says without an append of its own
        waits until ``stored``, and until everything it leant on before."""
        if self._leaning is None or stored.number > self._leaning.number:
            self._leaning = stored

    def _refusal(self) -> Problem | None:
        if self.closed:
            return Unavailable(
                "shard-moved", "This part is moving to another process; retry with the same key."
            ).as_problem()
        if self._appends.health.away:
            return Unavailable(
                JOURNAL_AWAY, "The journal cannot be reached; retry with the same key."
            ).as_problem()
        if self.backlog >= MAILBOX_MAX:
            return Busy("busy", "Too many commands are waiting; retry shortly.").as_problem()
        return None

    @property
    def backlog(self) -> int:
        """Arrivals waiting."""
        return len(self._mailbox) + len(self._answers) + self._loads.waiting

    # ---------------------------------------------------------------- life

    async def recover(self) -> None:
        """Take the shard over and recover it. Waits out an unreachable journal."""
        await self._until_journal_answers(self._recover)

    def serve(self) -> None:
        """Serve what was recovered: arrivals, timers, and what is owed."""
        loop = asyncio.get_running_loop()
        self._snapshot_due = loop.time() + SNAPSHOT_EVERY_S
        self._tasks = [loop.create_task(self._serve()), loop.create_task(self._release())]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        self.ready.set()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A shard that cannot go on is given up at once: its successor recovers what is on disk.
        Nothing may go wrong silently here, where everything waits for it."""
        if task.cancelled() or self.closed or task.exception() is None:
            return
        log.error("shard.failed", shard=str(self.shard), exc_info=task.exception())
        self.host.stats.failures += 1
        self.host.stats.last_failure = repr(task.exception())
        self.give_up()

    async def stop(self) -> None:
        """Stop serving; what is in flight to disk may or may not arrive."""
        self.closed = True
        tasks = [
            task
            for task in (*self._tasks, *self._load_tasks, self._snapshot_task, self._probing)
            if task is not None
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _recover(self) -> None:
        self.host.reset()
        self.epoch, head = await self._journal.claim(self.shard)
        await recover(self.host, self._journal, head)
        self.committed = self.host.position

    async def _until_journal_answers(self, work: Callable[[], Awaitable[object]]) -> None:
        await until_journal_answers(work, self._appends.health)

    # ---------------------------------------------------------------- serving

    async def _serve(self) -> None:
        while True:
            await self._wait()
            await self._room.acquire()
            self._arrived.clear()
            batch = self._next_batch()
            step = self._handle(self._with_entities(batch))
            for outgoing in step.now:
                if outgoing.after <= self.committed:
                    self._outbound.send(self.shard, outgoing)
            if step.record is not None:
                self._append(step)
            else:
                self._room.release()
                self._answer_unchanged(step)
            self._snapshot_if_due()

    def _next_batch(self) -> list[Arrival]:
        batch: list[Arrival] = []
        for waiting in (self._answers, self._mailbox):
            batch += [waiting.popleft() for _ in range(min(len(waiting), BATCH_MAX - len(batch)))]
        if self._answers or self._mailbox:
            self._arrived.set()
        return batch

    def _handle(self, batch: Sequence[Arrival]) -> Step:
        return self.host.handle(batch, self._clock.now(), asyncio.get_running_loop().time())

    def _with_entities(self, batch: Sequence[Arrival]) -> Sequence[Arrival]:
        """The arrivals whose entities are in memory or known to be new. Those of the others are put
        aside until the cold store was asked.

        Nothing is awaited between this look and the decision, so that no entity can leave memory
        between them.
        """
        present, wanted = self._loads.split(batch, self.host.missing(batch))
        if wanted:
            task = asyncio.get_running_loop().create_task(self._load(wanted))
            self._load_tasks.add(task)
            task.add_done_callback(self._load_tasks.discard)
            task.add_done_callback(self._ended)
        return present

    async def _load(self, entities: list[str]) -> None:
        """Ask the cold store; then the arrivals that were put aside are the next ones."""
        try:
            stored = await self._journal.load_cold(self.shard, entities)
        except JournalUnavailable as error:
            self._appends.health.failed(error)
            self._probe()
            self._refuse_commands(self._loads.failed(entities))
            return
        self._appends.health.worked()
        self.host.load(stored)
        self._mailbox.extendleft(reversed(self._loads.answered(entities)))
        self._arrived.set()

    def _refuse_commands(self, commands: list[Deliver]) -> None:
        refusal = self._refusal()
        for command in commands:
            if command.handle is not None and refusal is not None:
                self._on_reply(command.handle, refusal)

    def _probe(self) -> None:
        """Commands are refused while the journal is away: somebody must notice that it is back."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().create_task(
                self._until_journal_answers(self._journal.ping)
            )

    async def _wait(self) -> None:
        if self._mailbox or self._answers:
            # let other shards and the sockets of this process have their turn
            await asyncio.sleep(0)
            return
        service, real = self.host.next_wake()
        loop = asyncio.get_running_loop()
        pause = min(
            (service - self._clock.now()) / self._clock.speed if service != NEVER else NEVER,
            real - loop.time(),
            max(self._snapshot_due - loop.time(), 0.5),
        )
        if pause <= 0:
            await asyncio.sleep(0)
            return
        handle = loop.call_later(pause, self._arrived.set)
        try:
            await self._arrived.wait()
        finally:
            handle.cancel()

    def _append(self, step: Step) -> None:
        self._since_snapshot += 1
        self._entries_since_snapshot += len(step.record.entries)  # type: ignore[union-attr]
        stored = self._appends.put(Append(self.shard, self.epoch, step.position, step.payload))
        self._in_flight.append((step, stored))
        if len(self._in_flight) == 1:
            self._appended.set()
        self._answer_early(step, stored)

    async def _release(self) -> None:
        """Let out, in order, what each step may say now that it is on disk."""
        while True:
            await self._appended.wait()
            self._appended.clear()
            while self._in_flight:
                step, stored = self._in_flight[0]
                # Others may wait for it, too: it is not this shard's to cancel.
                if not await asyncio.shield(stored):
                    self.give_up()
                    return
                self._in_flight.popleft()
                self._room.release()
                self.committed = step.position
                if self._progress is not None and not self._progress.done():
                    self._progress.set_result(None)
                self._outbound.committed(self.shard, step.position, step.record)  # type: ignore[arg-type]
                for outgoing in step.later:
                    self._outbound.send(self.shard, outgoing)
                self._answer(step)

    def _answer(self, step: Step) -> None:
        """Give the replies whose records are on disk; the others wait for theirs (a read of what is
        still on its way, for example)."""
        late: list[Reply] = []
        for reply in step.replies:
            if reply.position <= self.committed:
                self._on_reply(reply.handle, reply.body)
            else:
                late.append(reply)
        if late:
            self._in_flight[-1][0].replies.extend(late)

    def _answer_early(self, step: Step, stored: Queued) -> None:
        """Neighbours need not wait for the disk."""
        late: list[Reply] = []
        for reply in step.replies:
            if type(reply.handle) is Early and reply.position > self.committed:
                reply.handle(reply.body, stored)
            else:
                late.append(reply)
        step.replies = late

    def _answer_unchanged(self, step: Step) -> None:
        """The replies of a step that stores nothing: at once, unless something that it may build on
        is not on disk yet."""
        leaning = self._leaning
        if leaning is not None and leaning.done():
            if leaning.cancelled() or not leaning.result():
                return  # what it builds on never was: this process is going
            leaning = self._leaning = None
        if self._in_flight:
            stored = self._in_flight[-1][1]
            if leaning is not None and leaning.number > stored.number:
                stored = leaning
            self._answer_early(step, stored)
        if leaning is None:
            self._answer(step)
            return

        def answer(done: "asyncio.Future[bool]") -> None:
            if not done.cancelled() and done.result() and not self.closed:
                self._answer(step)

        leaning.add_done_callback(answer)

    def give_up(self) -> None:
        """Another writer owns the shard (or will): say nothing more, to anybody."""
        log.error("shard.given_up", shard=str(self.shard), epoch=self.epoch)
        self.closed = True
        self._in_flight.clear()
        self._on_fenced(self.shard)
        for task in (*self._tasks, *self._load_tasks):
            if task is not asyncio.current_task():
                task.cancel()

    # ---------------------------------------------------------------- snapshots

    def _snapshot_if_due(self) -> None:
        if self._snapshot_task is not None and not self._snapshot_task.done():
            return
        loop = asyncio.get_running_loop()
        if (
            self._since_snapshot >= SNAPSHOT_EVERY_RECORDS
            or self._entries_since_snapshot >= SNAPSHOT_EVERY_ENTRIES
            or loop.time() >= self._snapshot_due
        ):
            self._snapshot_task = loop.create_task(self._snapshot())
            self._snapshot_task.add_done_callback(self._ended)

    async def _snapshot(self) -> None:
        """One pass in slices, then the stream is trimmed. The loop serves between slices."""
        loop = asyncio.get_running_loop()
        self._since_snapshot = self._entries_since_snapshot = 0
        self._snapshot_due = loop.time() + SNAPSHOT_EVERY_S
        if not self.host.begin_snapshot():
            return
        covered = None
        while covered is None:
            write = self.host.snapshot_slice(self.epoch, SNAPSHOT_SLICE, SNAPSHOT_SLICE_BYTES)
            position, covered = self.host.position, write.covered
            try:
                await self._until_committed(position)
                await self._until_journal_answers(partial(self._journal.write_snapshot, write))
            except BaseException:
                self.host.snapshot_failed(write)
                raise
            self.host.snapshot_stored(write)
            self._loads.passivated([stored.entity_id for stored in write.cold])
        await self._until_journal_answers(partial(self._journal.trim, self.shard))

    async def _until_committed(self, position: int) -> None:
        while self.committed < position:
            self._progress = asyncio.get_running_loop().create_future()
            await self._progress
