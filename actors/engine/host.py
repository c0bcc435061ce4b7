"""The host: keeps the entities of one shard alive, without doing any I/O.

One loop for every kind: *dedup -> decide -> evolve -> append -> reply, send, publish*
(ARCHITECTURE, Engine rules 2). :meth:`Host.handle` takes a batch and returns a :class:`Step`: what
to append, and what may be said once that is on disk. The shell (``shell.py``) does the I/O and may
call ``handle`` again while an append is in flight; each reply names the position it waits for.

Read it in this order: ``handle`` -> ``_accept`` -> ``_decide`` -> ``_apply``. What it keeps is in
``entities.py``, what is owed to others in ``owed.py``, when somebody wants to be woken in
``timers.py``, what goes in and comes out in ``step.py``.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Raw, Struct

from actors.engine.codec import Codec, Registry, encode
from actors.engine.entities import Entities, Entity
from actors.engine.job import Job
from actors.engine.kind import NEVER, Answered, Ask, Context, Decision, Wake
from actors.engine.owed import OwedEffects
from actors.engine.ports import JOURNAL_AWAY, Entry, Owed, Record, Shard, SnapshotWrite, Stored
from actors.engine.step import Arrival, AskAnswered, Deliver, Moment, Outgoing, Reply, Settled, Step
from actors.engine.timers import Timers
from domain.errors import Busy, DoorstepError, Problem, Unavailable

__all__ = ["Host", "HostStats"]

ENTITY_QUEUE_MAX = 256
"""Commands that may wait for one entity while it asks others: a hot key cannot starve the rest."""
REASK_S = 1.0
"""Real seconds after which an unanswered question is asked again."""
ASK_GIVE_UP_S = 15.0
"""Real seconds after which a command whose questions stay unanswered is given up (retryable)."""


class HostStats(Struct):
    """Counters for the metrics; monotonic unless named otherwise."""

    commands: int = 0
    repeats: int = 0
    refusals: int = 0
    effects_refused: int = 0
    failures: int = 0
    last_failure: str = ""
    live: int = 0
    """Gauge: entities in memory as objects."""
    packed: int = 0
    """Gauge: entities in memory as bytes."""
    unsettled: int = 0
    """Gauge: owed effects without an answer."""


class Host:
    """The entities of one shard. Single-threaded; no clock, no I/O, no randomness."""

    def __init__(
        self,
        shard: Shard,
        codec: Codec,
        registry: Registry,
        views: Any = None,
        *,
        passivate_s: float = 600.0,
    ) -> None:
        self.shard = shard
        self.kind = codec.kind
        self.codec = codec
        self.registry = registry
        self.views = views
        self.stats = HostStats()
        self._passivate_s = passivate_s
        self.reset()

    def reset(self) -> None:
        """Empty memory. A recovery that failed midway starts over from here: what it had loaded
        must not be mixed with what it loads again."""
        self.position = 0
        """The last decided record."""
        self._moment = Moment()
        self._entities = Entities(self.codec, self._moment, self._passivate_s)
        self._owed = OwedEffects(self.kind.name, self.registry, self._moment)
        self._timers = Timers(self._moment)
        self._busy: dict[str, Job] = {}
        """Entities that wait for answers to their questions, each with the job that asks."""
        self._queues: dict[str, deque[Job]] = {}
        """What waits for a busy entity."""
        self._asks: dict[str, Job] = {}
        self._reasks: deque[tuple[float, str, int]] = deque()
        """(when to ask again, entity, number of its job). Not the jobs: most are done long before,
        and what is kept for a second is what the garbage collector has to walk over."""
        self._asked = 0
        self._entries: list[Entry] = []
        """Of the step under way."""
        self._encoded: list[Raw] = []
        self._step = Step()

    # ---------------------------------------------------------------- the loop

    def missing(self, batch: Iterable[Arrival]) -> list[str]:
        """Ids addressed by the batch that are not in memory: they may be in the cold store. (One
        that is being decided is known not to be there.)"""
        entities, busy = self._entities, self._busy
        return list(
            {
                arrival.entity: None
                for arrival in batch
                if type(arrival) is Deliver
                and arrival.entity not in entities
                and arrival.entity not in busy
            }
        )

    def handle(self, batch: Sequence[Arrival], now: float, mono: float) -> Step:
        """Decide a batch at service time ``now`` (``mono``: real seconds, for re-sending).

        Fires due timers first. The caller must append ``step.record`` (if any) before it lets out
        ``step.later`` and the replies that wait for its position.
        """
        self._moment.now, self._moment.real = now, mono
        self._entries, self._encoded, self._step = [], [], Step()
        self._wake(beside_arrivals=bool(batch))
        for arrival in batch:
            if type(arrival) is Deliver:
                self._accept(arrival)
            elif type(arrival) is AskAnswered:
                self._answer(arrival)
            else:
                self._settle(arrival)  # type: ignore[arg-type]
        self._step.now += self._owed.due()
        self._ask_again()
        self._entities.pack_untouched(self._busy)
        step = self._step
        if self._entries:
            self.position += 1
            step.record = Record(now, tuple(self._entries))
            step.payload = encode((now, self._encoded))
            step.position = self.position
        stats = self.stats
        stats.live, stats.packed = self._entities.live, self._entities.packed
        stats.unsettled = len(self._owed)
        return step

    def next_wake(self) -> tuple[float, float]:
        """(service time, real time) at which ``handle`` must be called even without arrivals."""
        service, real = self._timers.next()
        real = min(real, self._owed.next())
        if self._reasks:
            real = min(real, self._reasks[0][0])
        return service, real

    def _wake(self, *, beside_arrivals: bool) -> None:
        for entity_id in self._timers.due(beside_arrivals):
            if entity_id in self._busy:
                self._timers.set_again(entity_id)
            else:
                self._decide(Job(entity_id, Wake(), "", 0, "", None))

    # ---------------------------------------------------------------- commands

    def _accept(self, deliver: Deliver) -> None:
        self.stats.commands += 1
        job = Job(*deliver)
        if job.command_id:
            if self._done_before(job):
                return
            running = self._running(job.entity, job.command_id)
            if running is not None:
                self._join(running, job)
                return
        if job.entity in self._busy:
            self._queue(job)
        else:
            self._decide(job)

    def _done_before(self, job: Job) -> bool:
        """Whether the command was done before. Then its first answer is given, or the news that it
        was done, where that answer has made room for newer ones."""
        entity = self._entities.get(job.entity)
        if entity is None:
            return False
        known = entity.answered(job.command_id)
        reply: bytes | Problem
        if known is not None:
            digest, reply = known
        elif job.digest and (faded := entity.faded(job.command_id)) is not None:
            digest, reply = faded, _already_done(job.command_id)
        else:
            return False
        self.stats.repeats += 1
        if job.is_other_than(digest):
            reply = _key_reused(job.command_id)
        self._reply(job, reply, entity.position)
        return True

    def _join(self, running: Job, job: Job) -> None:
        """The same command is already under way: its answer serves both."""
        self.stats.repeats += 1
        if job.is_other_than(running.digest):
            self._reply(job, _key_reused(job.command_id), 0)
        else:
            running.handles.extend(job.handles)

    def _running(self, entity: str, command_id: str) -> Job | None:
        busy = self._busy.get(entity)
        if busy is None:
            return None
        if busy.command_id == command_id:
            return busy
        for queued in self._queues.get(entity, ()):
            if queued.command_id == command_id:
                return queued
        return None

    def _queue(self, job: Job) -> None:
        queue = self._queues.setdefault(job.entity, deque())
        if len(queue) >= ENTITY_QUEUE_MAX and not job.settles:
            busy = Busy("entity-busy", "Too many commands wait for this one; try again shortly.")
            self._reply(job, busy.as_problem(), 0)
            return
        queue.append(job)

    def _decide(self, job: Job) -> None:
        entity = self._entities.get(job.entity)
        state = entity.state if entity is not None else None
        context = Context(
            self._moment.now,
            job.entity,
            job.command_id,
            job.sender,
            self.views,
            job.answers,
            job.memo,
        )
        try:
            outcome = self.kind.decide(state, job.command, context)
        except DoorstepError as error:
            self._refuse(job, error.as_problem())
            return
        except Exception as error:  # a defect in a rule must not take the whole shard down
            self._failed(job, error)
            return
        if type(outcome) is Ask:
            self._ask(job, outcome)
            return
        try:
            written = self._written(job, entity, outcome)  # type: ignore[arg-type]
        except Exception as error:  # nothing has changed yet
            self._failed(job, error)
            return
        self._apply(job, entity, outcome, written)  # type: ignore[arg-type]
        self._release(job)

    def _failed(self, job: Job, error: Exception) -> None:
        """A defect, here or in what was asked of a rule. An effect that another entity owes stays
        owed: it is sent again until a release can take it. Others are told to give up."""
        self.stats.failures += 1
        self.stats.last_failure = f"{type(job.command).__name__}: {error!r}"
        owed = bool(job.sender and job.command_id)
        detail = "This command failed inside; operations was told."
        self._refuse(job, Problem("internal-error", detail, retryable=owed), failed=True)

    def _written(self, job: Job, entity: Entity | None, decision: Decision) -> "_Written":
        """What a decision leads to, before anything is changed by it. Raises what the encoder says
        of a value that cannot be stored.

        The answer to a command from outside (which has a digest) is stored also where nothing
        changed: the same key must not do another body later, nor its late repeat undo what others
        did meanwhile. Commands between entities, and whoever sends no id, are spared that.
        """
        reply = encode(decision.reply) if job.handles or job.command_id else b""
        changes = bool(decision.events or decision.sends)
        remember = job.command_id if not job.settles and (changes or job.digest) else ""
        if not (changes or remember or job.settles):
            return _Written(None, b"", reply)
        owed: tuple[Owed, ...] = ()
        if decision.sends:
            sender, number = self._sender(job.entity), 0 if entity is None else entity.sent
            owed = tuple(
                [
                    Owed(f"{sender}:{number + at}", send.to, send.command, send.wants_answer)
                    for at, send in enumerate(decision.sends, 1)
                ]
            )
        entry = Entry(
            job.entity,
            tuple(decision.events),
            owed,
            (job.settles,) if job.settles else (),
            remember,
            job.digest,
            reply if remember else b"",
        )
        return _Written(entry, encode(entry), reply)

    def _apply(
        self, job: Job, entity: Entity | None, decision: Decision, written: "_Written"
    ) -> None:
        entry, woken = written.entry, type(job.command) is Wake
        if entry is not None:
            if entity is None:
                entity = self._entities.add(job.entity)
            position = self.position + 1
            self._take(entity, entry, self._moment.now, position, decision.state)
            self._changed(job.entity, entity, position)
            self._entries.append(entry)
            self._encoded.append(Raw(written.data))
            if entry.owed:
                self._send(entry)
                if woken:
                    self._timers.owe([owed.id for owed in entry.owed])
        elif woken and entity is not None:
            if entity.wake > self._moment.now:
                self._timers.set(job.entity, entity.wake)
            else:
                self._timers.set_again(job.entity)
        for tell in decision.tells:
            self._step.now.append(Outgoing(tell.to, tell.command, self._sender(job.entity)))
        self._reply(job, written.reply, entity.position if entity is not None else 0)

    def _take(
        self, entity: Entity, entry: Entry, at: float, position: int, state: Any = None
    ) -> None:
        """Do to an entity what an entry says, be it decided now or read from the journal: both must
        lead to the same. ``state`` is what the events lead to, if that is known already;
        ``position`` as in :meth:`OwedEffects.track`."""
        if state is not None:
            entity.state = state
        else:
            evolve = self.kind.evolve
            for event in entry.events:
                entity.state = evolve(entity.state, event)
        for owed in entry.owed:
            entity.sent += 1
            entity.outbox[owed.id] = owed
            self._owed.track(entry.entity, owed, position)
        for owed_id in entry.settled:
            entity.outbox.pop(owed_id, None)
            self._owed.settle(owed_id)
        if entry.command_id:
            entity.remember(entry, at, self.kind.answers_kept)

    def _changed(self, entity_id: str, entity: Entity, position: int) -> None:
        entity.position = position
        self._entities.changed(entity_id, entity)
        self._timers.set(entity_id, entity.wake)

    def _send(self, entry: Entry) -> None:
        sender = self._sender(entry.entity)
        for owed in entry.owed:
            self._step.later.append(
                Outgoing(owed.to, owed.command, sender, entry.entity, owed_id=owed.id)
            )

    def _refuse(self, job: Job, problem: Problem, *, failed: bool = False) -> None:
        self.stats.refusals += 1
        if job.settles and not problem.retryable and not failed:
            self.stats.effects_refused += 1
            self._settle_only(job)
        elif type(job.command) is Wake:
            self._timers.set_again(job.entity)
        else:
            entity = self._entities.get(job.entity)
            self._reply(job, problem, entity.position if entity is not None else 0)
        self._release(job)

    def _reply(self, job: Job, reply: bytes | Problem, position: int) -> None:
        for handle in job.handles:
            self._step.replies.append(Reply(position, handle, reply))

    def _sender(self, entity_id: str) -> str:
        return f"{self.kind.name}/{entity_id}"

    def _release(self, job: Job) -> None:
        """The job is done: what waited for its entity goes on."""
        if self._busy.get(job.entity) is not job:
            return
        del self._busy[job.entity]
        queue = self._queues.get(job.entity)
        while queue and job.entity not in self._busy:
            following = queue.popleft()
            if not self._done_before(following):
                self._decide(following)
        if queue is not None and not queue:
            self._queues.pop(job.entity, None)

    # ---------------------------------------------------------------- questions

    def _ask(self, job: Job, ask: Ask) -> None:
        job.memo = ask.memo
        job.rounds += 1
        job.asked, job.heard = {}, {}
        sender = self._sender(job.entity)
        self._asked += 1
        unique = f"{sender}?{self._asked}"
        for index, (to, command) in enumerate(ask.requests):
            ask_id = f"{unique}.{index}"
            outgoing = Outgoing(to, command, sender, job.entity, ask_id=ask_id)
            job.asked[ask_id] = outgoing
            self._asks[ask_id] = job
            self._step.now.append(outgoing)
        if job.rounds == 1:
            job.number = self._asked
            job.give_up_at = self._moment.real + ASK_GIVE_UP_S
            self._reasks.append((self._moment.real + REASK_S, job.entity, job.number))
        self._busy[job.entity] = job
        if not ask.requests:
            self._answered_all(job)

    def _answer(self, arrival: AskAnswered) -> None:
        job = self._asks.get(arrival.ask_id)
        if job is None or arrival.ask_id not in job.asked:
            return
        if isinstance(arrival.answer, Problem) and arrival.answer.retryable:
            if arrival.answer.code == JOURNAL_AWAY:
                self._give_up(job, arrival.answer)  # whoever asked hears it at once
            return  # else it is asked again when its time has come
        del self._asks[arrival.ask_id]
        job.heard[arrival.ask_id] = arrival.answer
        if len(job.heard) == len(job.asked):
            self._answered_all(job)

    def _answered_all(self, job: Job) -> None:
        job.answers += tuple(job.heard[ask_id] for ask_id in job.asked)
        job.asked, job.heard = {}, {}
        self._decide(job)

    def _ask_again(self) -> None:
        reasks, real = self._reasks, self._moment.real
        while reasks and reasks[0][0] <= real:
            _, entity_id, number = reasks.popleft()
            job = self._busy.get(entity_id)
            if job is None or job.number != number:
                continue
            if real >= job.give_up_at:
                unknown = Unavailable(
                    "outcome-unknown", "A part did not answer in time; retry with the same key."
                )
                self._give_up(job, unknown.as_problem())
                continue
            reasks.append((real + REASK_S, entity_id, number))
            self._step.now.extend(
                outgoing for ask_id, outgoing in job.asked.items() if ask_id not in job.heard
            )

    def _give_up(self, job: Job, why: Problem) -> None:
        for ask_id in job.asked:
            self._asks.pop(ask_id, None)
        job.asked = {}
        self._refuse(job, why)

    # ---------------------------------------------------------------- answers to what is owed

    def _settle(self, arrival: Settled) -> None:
        self._timers.answered(arrival.owed_id)
        owed = self._owed.get(arrival.owed_id)
        if owed is None:
            return
        answer = arrival.answer
        if isinstance(answer, Problem) and answer.retryable:
            return  # it is sent again when its time has come
        command = Answered(owed.to, self.registry.as_command(owed.to, owed.command), answer)
        job = Job(arrival.entity, command, f"answer:{owed.id}", 0, owed.to, None)
        job.settles = owed.id
        if not owed.wants_answer:
            if isinstance(answer, Problem):
                self.stats.effects_refused += 1
            self._settle_only(job)
        elif self._running(arrival.entity, job.command_id) is not None:
            return
        elif arrival.entity in self._busy:
            self._queue(job)
        else:
            self._decide(job)

    def _settle_only(self, job: Job) -> None:
        """The effect is answered, and nothing else follows from it."""
        entity, nothing = self._entities.get(job.entity), Decision()
        self._apply(job, entity, nothing, self._written(job, entity, nothing))

    # ---------------------------------------------------------------- snapshots

    def begin_snapshot(self) -> bool:
        """Start a pass over what changed since the last one; False when there is nothing."""
        return self._entities.begin_pass(self.position)

    def snapshot_slice(self, epoch: int, entities_max: int, bytes_max: int) -> SnapshotWrite:
        """The next slice of the pass: as many entities, or as many bytes (and at least one entity).
        The caller writes it once :attr:`position` is on disk, and then calls
        :meth:`snapshot_stored` or :meth:`snapshot_failed`."""
        live, cold, parts, covered = self._entities.next_slice(entities_max, bytes_max, self._busy)
        for stored in cold:
            self._timers.set(stored.entity_id, NEVER)
        return SnapshotWrite(self.shard, epoch, live, cold, covered, self.kind.lasting, parts)

    def snapshot_stored(self, write: SnapshotWrite) -> None:
        """The slice was written: its cold entities may be loaded from the cold store."""
        self._entities.stored(write)

    def snapshot_failed(self, write: SnapshotWrite) -> None:
        """The slice could not be written: the pass is over, all of it belongs to the next one."""
        self._entities.not_stored(write)

    # ---------------------------------------------------------------- recovery

    @property
    def loaded_to(self) -> int:
        """The newest position that a loaded entity's state includes."""
        return self._entities.loaded_to

    def load(self, page: Iterable[Stored]) -> None:
        """Take entities of a snapshot (or of the cold store) into memory, without decoding them."""
        for stored in page:
            packed = self._entities.load(stored)
            if packed.wake != NEVER:
                self._timers.set(stored.entity_id, packed.wake)
            for owed in packed.outbox:
                self._owed.track(stored.entity_id, owed)

    def parts_wanted(self) -> list[tuple[str, list[int]]]:
        """Loaded entities of which parts are stored apart, with the numbers of those; each must be
        given to :meth:`load_parts` before the host is used."""
        return self._entities.parts_wanted()

    def load_parts(self, entity_id: str, parts: Mapping[int, bytes]) -> None:
        """Take parts of a loaded entity into memory."""
        self._entities.load_parts(entity_id, parts)

    def unknown(self, record: Record) -> list[str]:
        """Entities of a record that are not in memory: look into the cold store before replay."""
        return [entry.entity for entry in record.entries if entry.entity not in self._entities]

    def replay(self, position: int, record: Record) -> None:
        """Apply a stored record of the tail. What an entity's snapshot already holds is skipped."""
        touched: dict[str, Entity] = {}
        for entry in record.entries:
            entity = self._entities.get(entry.entity) or self._entities.add(entry.entity)
            if entity.position < position:
                self._take(entity, entry, record.at, 0)
                touched[entry.entity] = entity
        for entity_id, entity in touched.items():
            self._changed(entity_id, entity, position)
        self.position = position

    def states(self) -> Iterable[tuple[str, Any]]:
        """Every entity in memory with its state, decoded."""
        return self._entities.states()


class _Written(NamedTuple):
    """A decision in the form in which it is stored, and its encoded reply."""

    entry: Entry | None
    """None: nothing is stored."""
    data: bytes
    reply: bytes


def _already_done(command_id: str) -> Problem:
    return Problem(
        "already-done",
        "The command with this Idempotency-Key was done; its answer is no longer kept. Read what"
        " became of it, or use a new key to do it again.",
        extra={"command_id": command_id},
    )


def _key_reused(command_id: str) -> Problem:
    return Problem(
        "idempotency-key-reused",
        "This Idempotency-Key was used with another body. Use a new key for a new request.",
        extra={"command_id": command_id},
    )
