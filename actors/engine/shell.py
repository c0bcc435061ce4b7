"""The shell of one shard: gives the sans-I/O host its journal, its mailbox and its timers.

While one append is on its way to disk the next batch is already being decided; what a step wants
to say leaves only when its own append has been acknowledged.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from actors.engine.cold import ColdIds
from actors.engine.host import Arrival, AskAnswered, Deliver, Host, Outgoing, Step
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
from domain.errors import Busy, Problem, Unavailable

__all__ = ["AppendQueue", "Early", "JournalHealth", "Outbound", "Shell"]

log = structlog.get_logger(__name__)

MAILBOX_MAX = 8192
"""Arrivals a shard may have waiting; beyond it commands are answered ``busy``."""
BATCH_MAX = 16
"""Arrivals decided in one step. Small, so that what is decided is on its way to the disk while the
next step is made; appends of several steps still share one round trip and one fsync."""
APPENDS_IN_FLIGHT = 8
"""Steps decided ahead of the disk."""
GATHER_TURNS = 1
"""Turns of the loop after which an append no longer waits for others to come along: a turn of a
busy node takes milliseconds, and what waits for the disk keeps everybody else waiting."""
SNAPSHOT_EVERY_RECORDS = 4_000
SNAPSHOT_EVERY_ENTRIES = 40_000
SNAPSHOT_EVERY_S = 30.0
"""A pass starts after so many records, entries or real seconds, whichever is first."""
SNAPSHOT_SLICE = 100
SNAPSHOT_SLICE_BYTES = 200_000
"""Entities per slice, or as many as make so many bytes: about a millisecond of encoding."""


class Early:
    """How a shard answers a neighbour in the same process: without waiting for the disk.

    The neighbour's own append goes to disk with the answer's or after it, never before or without
    it (see :class:`AppendQueue`); what it says to others without an append of its own waits for
    ``stored``.
    """

    __slots__ = ("_take",)

    def __init__(self, take: "Callable[[bytes | Problem, Queued | None], None]"):
        self._take = take

    def __call__(self, reply: bytes | Problem, stored: "Queued | None" = None) -> None:
        """Give the answer; ``stored`` is the append it depends on, None if that is on disk."""
        self._take(reply, stored)


class Outbound(Protocol):
    """Where a shell's messages go: the node routes them."""

    def send(self, shard: Shard, outgoing: Outgoing) -> None:
        """Deliver; the answer comes back to the shard as an arrival."""
        ...

    def committed(self, shard: Shard, position: int, record: Record) -> None:
        """A record is on disk."""
        ...


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


class Queued(asyncio.Future[bool]):
    """An append on its way: whether it came to disk. ``number`` orders those of a process."""

    def __init__(self, number: int) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.number = number


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

    def put(self, append: Append) -> Queued:
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
            if await self._write([append for append, _ in batch]):
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

    async def _write(self, appends: list[Append]) -> set[Shard]:
        pause = 0.05
        while True:
            try:
                fenced = await self._journal.append(appends)
            except JournalUnavailable as error:
                self.health.failed(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
                continue
            self.health.worked()
            return fenced


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
        self.cold = ColdIds()
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
        self._loading: dict[str, list[Deliver]] = {}
        self._aside = 0
        """Commands in ``_loading``: asked for with each arrival, so it is counted along."""
        self._looked_up: set[str] = set()
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
        self._loads: set[asyncio.Task[None]] = set()

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
        return len(self._mailbox) + len(self._answers) + self._aside

    # ---------------------------------------------------------------- life

    async def recover(self) -> None:
        """Take the shard over and recover it. Waits out an unreachable journal."""
        await self._patiently(self._recover)

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
            for task in (*self._tasks, *self._loads, self._snapshot_task, self._probing)
            if task is not None
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _patiently(self, work: Callable[[], Awaitable[None]]) -> None:
        pause = 0.05
        while True:
            try:
                await work()
            except JournalUnavailable as error:
                self._appends.health.failed(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
            else:
                self._appends.health.worked()
                return

    async def _recover(self) -> None:
        self.host.reset()
        self.epoch, head = await self._journal.claim(self.shard)
        await recover(self.host, self._journal, head)
        self.committed = self.host.position

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

    def _handle(self, batch: list[Arrival]) -> Step:
        return self.host.handle(batch, self._clock.now(), asyncio.get_running_loop().time())

    def _with_entities(self, batch: list[Arrival]) -> list[Arrival]:
        """The arrivals whose entities are in memory or known to be new. Those of the others are put
        aside until the cold store was asked; the rest of the shard does not wait for that.

        Nothing is awaited between this look and the decision, so that no entity can leave memory
        between them.
        """
        may_hold, looked_up = self.cold.may_hold, self._looked_up
        missing = self.host.missing(batch)
        unknown = {name for name in missing if name not in looked_up and may_hold(name)}
        if looked_up:
            looked_up.difference_update([one.entity for one in batch if type(one) is Deliver])
        if not unknown and not self._loading:
            return batch
        present: list[Arrival] = []
        asked: list[str] = []
        for arrival in batch:
            if type(arrival) is not Deliver:
                present.append(arrival)
            elif (waiting := self._loading.get(arrival.entity)) is not None:
                waiting.append(arrival)  # behind the others, whatever is known by now
                self._aside += 1
            elif arrival.entity not in unknown:
                present.append(arrival)
            else:
                self._loading[arrival.entity] = [arrival]
                self._aside += 1
                asked.append(arrival.entity)
        if asked:
            task = asyncio.get_running_loop().create_task(self._load(asked))
            self._loads.add(task)
            task.add_done_callback(self._loads.discard)
            task.add_done_callback(self._ended)
        return present

    async def _load(self, entities: list[str]) -> None:
        """Ask the cold store; then the arrivals that were put aside are the next ones."""
        try:
            stored = await self._journal.load_cold(self.shard, entities)
        except JournalUnavailable as error:
            self._appends.health.failed(error)
            self._probe()
            self._refuse_commands(self._take_back(entities))
            return
        self._appends.health.worked()
        self.host.load(stored)
        self._looked_up.update(entities)
        self._mailbox.extendleft(reversed(self._take_back(entities)))
        self._arrived.set()

    def _take_back(self, entities: list[str]) -> list[Deliver]:
        commands = [command for entity in entities for command in self._loading.pop(entity)]
        self._aside -= len(commands)
        return commands

    def _refuse_commands(self, commands: list[Deliver]) -> None:
        refusal = self._refusal()
        for command in commands:
            if command.handle is not None and refusal is not None:
                self._on_reply(command.handle, refusal)

    def _probe(self) -> None:
        """Commands are refused while the journal is away: somebody must notice that it is back."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().create_task(
                self._patiently(self._journal.ping)
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
        late: list[tuple[int, Any, bytes | Problem]] = []
        for reply in step.replies:
            if reply[0] <= self.committed:
                self._on_reply(reply[1], reply[2])
            else:
                late.append(reply)
        if late:
            self._in_flight[-1][0].replies.extend(late)

    def _answer_early(self, step: Step, stored: Queued) -> None:
        """Neighbours need not wait for the disk."""
        late: list[tuple[int, Any, bytes | Problem]] = []
        for reply in step.replies:
            if type(reply[1]) is Early and reply[0] > self.committed:
                reply[1](reply[2], stored)
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
        for task in (*self._tasks, *self._loads):
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
                await self._patiently(lambda write=write: self._journal.write_snapshot(write))  # type: ignore[misc]
            except BaseException:
                self.host.give_pass_up(write)
                raise
            self.cold.add([stored.entity_id for stored in write.cold])
            self.host.left(write.cold)
            self._looked_up.difference_update([stored.entity_id for stored in write.cold])
        await self._patiently(self._trim)

    async def _until_committed(self, position: int) -> None:
        while self.committed < position:
            self._progress = asyncio.get_running_loop().create_future()
            await self._progress

    async def _trim(self) -> None:
        await self._journal.trim(self.shard)


async def recover(host: Host, journal: Journal, head: int) -> None:
    """Bring a fresh host to ``head``: snapshot pages, then the tail (with cold entities it needs).
    Nothing fires here. Entities that were stored again meanwhile may be ahead of ``head``; the host
    then goes on until it is as far as they are, so that its position tells the truth of each."""
    pages, position = await journal.recover(host.shard)
    async for page in pages:
        host.load(page)
        await asyncio.sleep(0)
    host.position = position
    while host.position < max(head, host.loaded_to):
        records = await journal.read(host.shard, host.position)
        if not records:
            raise JournalUnavailable(f"{host.shard}: records after {host.position} are missing")
        for at, payload in records:
            if at != host.position + 1:
                raise JournalUnavailable(f"{host.shard}: trimmed while it was read; read it anew")
            record = host.codec.record(payload)
            cold = host.unknown(record)
            if cold:
                host.load(await journal.load_cold(host.shard, cold))
            host.replay(at, record)
        await asyncio.sleep(0)
