"""The host: keeps the entities of one shard alive, without doing any I/O.

One loop for every kind: *dedup -> decide -> evolve -> append -> reply, send, publish*
(ARCHITECTURE, Engine rules 2). :meth:`Host.handle` takes a batch and returns a :class:`Step`: what
to append, and what may be said once that is on disk. The shell (``shell.py``) does the I/O and may
call ``handle`` again while an append is in flight; each reply names the position it waits for.

Read it in this order: ``handle`` -> ``_accept`` -> ``_decide`` -> ``_apply``.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

from msgspec import Raw, Struct, field
from msgspec.msgpack import Decoder

from actors.engine.codec import Codec, Registry, encode
from actors.engine.kind import NEVER, Answered, Ask, Context, Decision, Wake
from actors.engine.ports import JOURNAL_AWAY, Entry, Owed, Record, Shard, SnapshotWrite, Stored
from domain import history as histories
from domain.errors import Busy, DoorstepError, Problem, Unavailable
from domain.history import History

__all__ = ["Arrival", "AskAnswered", "Deliver", "Host", "HostStats", "Outgoing", "Settled", "Step"]

ENTITY_QUEUE_MAX = 256
"""Commands that may wait for one entity while it asks others: a hot key cannot starve the rest."""
RESEND_FIRST_S = 1.0
"""Real seconds before an unanswered owed effect is sent again for the first time; then doubling."""
RESEND_MAX_S = 30.0
"""Real seconds that are never exceeded between two sendings of an owed effect."""
REASK_S = 1.0
"""Real seconds before an unanswered question is asked again."""
ASK_GIVE_UP_S = 15.0
"""Real seconds after which a command whose questions stay unanswered is given up (retryable)."""
WAKE_AGAIN_S = 1.0
"""A timer whose command changed nothing although it is due fires again after so long."""
PACK_AFTER_S = 2.0
"""An entity untouched for so many real seconds is kept in memory as bytes (see ``Kind.few``)."""
ANSWERS_FADE_S = 86_400.0
"""After its answer made room for newer ones, a command from outside is recognised for so long."""
TIMERS_MAX = 64
"""Timers fired in one step at most, if nobody waits; the next step goes on."""
TIMERS_BESIDE_MAX = 8
"""Timers fired in a step that has arrivals, for which somebody waits."""
RESENDS_MAX = 64
"""Owed effects sent again in one step at most; the next step goes on."""
UNDER_WAY_MAX = 256
"""No timer fires while so many effects that timers owed are under way: when ten thousand unpaid
orders are over in the same second, they end as fast as others can follow."""
UNDER_WAY_S = 2.0
"""Real seconds for which an effect counts as under way at most: a receiver that is away holds
nobody up for long."""
REST_SLICE = 64
"""Entities packed per batch at most: packing never holds the loop up."""


class Deliver(NamedTuple):
    """A command for an entity. ``handle`` is given back with the reply; None wants none.

    An empty ``command_id`` is never deduplicated (questions and tells: idempotent by themselves);
    ``digest``, of commands from outside with an id, tells another body under the same id.
    """

    entity: str
    command: Any
    command_id: str
    digest: int
    sender: str
    handle: Any


class AskAnswered(NamedTuple):
    """The answer to a question this shard asked: a reply, or a Problem."""

    ask_id: str
    answer: Any


class Settled(NamedTuple):
    """The receiver of an owed effect has answered durably: a reply, or a Problem."""

    entity: str
    owed_id: str
    answer: Any


Arrival = Deliver | AskAnswered | Settled


class Outgoing(NamedTuple):
    """A message for another entity or the outside. ``ask_id``/``owed`` tell what it is."""

    to: str
    command: Any
    sender: str
    entity: str = ""
    ask_id: str = ""
    owed_id: str = ""
    after: int = 0
    """It may leave only once this position is on disk: of an owed effect that is sent again."""


class Step(Struct):
    """What one batch leads to."""

    record: Record | None = None
    payload: bytes = b""
    """``record`` as it is stored."""
    position: int = 0
    """Position of ``record``."""
    now: list[Outgoing] = field(default_factory=list)
    """Questions and tells: sent at once, before anything is stored. Owed effects that were not
    answered in time: sent again, unless what owes them is still on its way to disk (``after``)."""
    later: list[Outgoing] = field(default_factory=list)
    """Owed effects of this step: sent once ``position`` is on disk."""
    replies: list[tuple[int, Any, bytes | Problem]] = field(default_factory=list)
    """(position to wait for, handle, reply)."""


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


class _Packed(Struct, array_like=True, gc=False):
    """An entity at rest, and what a snapshot stores. The header is read without the state."""

    position: int
    wake: float
    finished: float
    sent: int
    outbox: list[Owed]
    answers: dict[str, tuple[int, bytes]]
    state: Raw
    past: History[int] | None = None
    """Digests of commands from outside whose answers are no longer kept."""


_packed_decoder = Decoder(_Packed)
_digests: Decoder[list[int]] = Decoder(list[int])


class _Entity:
    """A live entity."""

    __slots__ = (
        "answers",
        "finished",
        "outbox",
        "past",
        "position",
        "resting",
        "sent",
        "state",
        "touched",
        "wake",
    )

    def __init__(self) -> None:
        self.state: Any = None
        self.position = 0
        self.outbox: dict[str, Owed] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.past: History[int] | None = None
        self.sent = 0
        self.wake = NEVER
        self.finished = NEVER
        self.touched = 0.0
        self.resting = False


class _Job:
    """A command on its way through ``decide``, possibly over several rounds of questions."""

    __slots__ = (
        "answers",
        "asked",
        "command",
        "command_id",
        "digest",
        "entity",
        "give_up_at",
        "handles",
        "memo",
        "number",
        "rounds",
        "sender",
        "settles",
        "waiting",
    )

    def __init__(
        self, entity: str, command: Any, command_id: str, digest: int, sender: str, handle: Any
    ) -> None:
        self.entity = entity
        self.command = command
        self.command_id = command_id
        self.digest = digest
        self.sender = sender
        self.handles: list[Any] = [] if handle is None else [handle]
        self.settles = ""
        self.answers: tuple[Any, ...] = ()
        self.memo: Any = None
        self.asked: dict[str, Outgoing] = {}
        self.waiting: dict[str, Any] = {}
        self.rounds = 0
        self.number = 0
        """Of its first question."""
        self.give_up_at = 0.0


class _Written(NamedTuple):
    """A decision in the form in which it is stored, and its encoded reply."""

    entry: Entry | None
    """None: nothing is stored."""
    data: bytes
    reply: bytes


class _Unsettled:
    """An owed effect that was not yet answered."""

    __slots__ = ("attempts", "entity", "owed", "position", "resend_at")

    def __init__(self, entity: str, owed: Owed, resend_at: float, position: int) -> None:
        self.entity = entity
        self.owed = owed
        self.position = position
        """Of the record that owes it; 0: it was recovered, so it is on disk."""
        self.resend_at = resend_at
        self.attempts = 0


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
        self.loaded_to = 0
        """The newest position that a loaded entity's state includes."""
        self._live: dict[str, _Entity] = {}
        self._packed: dict[str, bytes] = {}
        self._wakes: dict[str, float] = {}
        self._wake_heap: list[tuple[float, str]] = []
        self._busy: dict[str, _Job] = {}
        self._queues: dict[str, deque[_Job]] = {}
        self._asks: dict[str, _Job] = {}
        self._unsettled: dict[str, _Unsettled] = {}
        self._resend_heap: list[tuple[float, str]] = []
        self._dirty: dict[str, None] = {}
        self._finished: list[tuple[float, str]] = []
        self._resting: deque[tuple[float, str]] = deque()
        self._reasks: deque[tuple[float, str, int]] = deque()
        """(when to ask again, entity, number of its job). Not the jobs: most are done long before,
        and what is kept for a second is what the garbage collector has to walk over."""
        self._asked = 0
        self._under_way: dict[str, float] = {}
        """Effects owed by timers, oldest first: since when (real time) their answer is awaited."""
        self._leaving: dict[str, bytes] = {}
        self._pass: list[str] = []
        self._pass_position: int | None = None
        self._entries: list[Entry] = []
        self._encoded: list[Raw] = []
        self._step = Step()
        self._now = 0.0
        self._mono = 0.0

    # ---------------------------------------------------------------- the loop

    def missing(self, batch: Iterable[Arrival]) -> list[str]:
        """Ids addressed by the batch that are not in memory: they may be in the cold store. (One
        that is being decided is known not to be there.)"""
        live, packed, leaving, busy = self._live, self._packed, self._leaving, self._busy
        return list(
            {
                arrival.entity: None
                for arrival in batch
                if type(arrival) is Deliver
                and arrival.entity not in live
                and arrival.entity not in packed
                and arrival.entity not in leaving
                and arrival.entity not in busy
            }
        )

    def handle(self, batch: Sequence[Arrival], now: float, mono: float) -> Step:
        """Decide a batch at service time ``now`` (``mono``: real seconds, for re-sending).

        Fires due timers first. The caller must append ``step.record`` (if any) before it lets out
        ``step.later`` and the replies that wait for its position.
        """
        self._now, self._mono = now, mono
        self._entries, self._encoded, self._step = [], [], Step()
        self._fire_timers(TIMERS_BESIDE_MAX if batch else TIMERS_MAX)
        for arrival in batch:
            if type(arrival) is Deliver:
                self._accept(arrival)
            elif type(arrival) is AskAnswered:
                self._answer(arrival)
            else:
                self._settle(arrival)  # type: ignore[arg-type]
        self._resend()
        self._rest()
        step = self._step
        if self._entries:
            self.position += 1
            step.record = Record(now, tuple(self._entries))
            step.payload = encode((now, self._encoded))
            step.position = self.position
        stats = self.stats
        stats.live, stats.packed = len(self._live), len(self._packed)
        stats.unsettled = len(self._unsettled)
        return step

    def next_wake(self) -> tuple[float, float]:
        """(service time, real time) at which ``handle`` must be called even without arrivals."""
        heap = self._wake_heap
        while heap and self._wakes.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        real = self._resend_heap[0][0] if self._resend_heap else NEVER
        if self._reasks:
            real = min(real, self._reasks[0][0])
        if len(self._under_way) >= UNDER_WAY_MAX:
            return NEVER, min(real, next(iter(self._under_way.values())) + UNDER_WAY_S)
        return (heap[0][0] if heap else NEVER), real

    # ---------------------------------------------------------------- commands

    def _accept(self, deliver: Deliver) -> None:
        self.stats.commands += 1
        command_id = deliver.command_id
        job = _Job(
            deliver.entity,
            deliver.command,
            command_id,
            deliver.digest,
            deliver.sender,
            deliver.handle,
        )
        if command_id:
            entity = self._get(deliver.entity)
            known = entity.answers.get(command_id) if entity is not None else None
            if known is not None:
                self._repeat(job, known, entity.position)  # type: ignore[union-attr]
                return
            if entity is not None and entity.past is not None and self._faded(job, entity):
                return
            running = self._running(deliver.entity, command_id)
            if running is not None:
                self._join(running, job)
                return
        if deliver.entity in self._busy:
            self._queue(job)
        else:
            self._decide(job)

    def _repeat(self, job: _Job, known: tuple[int, bytes], position: int) -> None:
        self.stats.repeats += 1
        digest, reply = known
        if digest and job.digest and digest != job.digest:
            self._reply(job, _key_reused(job.command_id), 0)
        else:
            self._reply(job, reply, position)

    def _faded(self, job: _Job, entity: _Entity) -> bool:
        """Whether the command was done so long ago that its answer is gone; then it is told so."""
        assert entity.past is not None
        digest = None
        if job.digest:
            digest = histories.recall(entity.past, job.command_id, _digests)
        if digest is None:
            return False
        self.stats.repeats += 1
        reused = digest != job.digest
        problem = _key_reused(job.command_id) if reused else _already_done(job.command_id)
        self._reply(job, problem, entity.position)
        return True

    def _join(self, running: _Job, job: _Job) -> None:
        """The same command is already under way: its answer serves both."""
        self.stats.repeats += 1
        if running.digest and job.digest and running.digest != job.digest:
            self._reply(job, _key_reused(job.command_id), 0)
        else:
            running.handles.extend(job.handles)

    def _running(self, entity: str, command_id: str) -> _Job | None:
        busy = self._busy.get(entity)
        if busy is None:
            return None
        if busy.command_id == command_id:
            return busy
        for queued in self._queues.get(entity, ()):
            if queued.command_id == command_id:
                return queued
        return None

    def _queue(self, job: _Job) -> None:
        queue = self._queues.setdefault(job.entity, deque())
        if len(queue) >= ENTITY_QUEUE_MAX and not job.settles:
            busy = Busy("entity-busy", "Too many commands wait for this one; try again shortly.")
            self._reply(job, busy.as_problem(), 0)
            return
        queue.append(job)

    def _decide(self, job: _Job) -> None:
        entity = self._get(job.entity)
        state = entity.state if entity is not None else None
        context = Context(
            self._now, job.entity, job.command_id, job.sender, self.views, job.answers, job.memo
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
        self._apply(job, outcome, written)  # type: ignore[arg-type]
        self._release(job)

    def _failed(self, job: _Job, error: Exception) -> None:
        """A defect, here or in what was asked of a rule. An effect that another entity owes stays
        owed: it is sent again until a release can take it. Others are told to give up."""
        self.stats.failures += 1
        self.stats.last_failure = f"{type(job.command).__name__}: {error!r}"
        owed = bool(job.sender and job.command_id)
        detail = "This command failed inside; operations was told."
        self._refuse(job, Problem("internal-error", detail, retryable=owed), failed=True)

    def _written(self, job: _Job, entity: _Entity | None, decision: Decision) -> _Written:
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

    def _apply(self, job: _Job, decision: Decision, written: _Written) -> None:
        entity = self._live.get(job.entity)
        entry = written.entry
        if entry is not None:
            if entity is None:
                entity = self._live[job.entity] = _Entity()
            if decision.state is not None:
                entity.state = decision.state
            else:
                evolve = self.kind.evolve
                for event in decision.events:
                    entity.state = evolve(entity.state, event)
            if entry.owed:
                self._owe(job.entity, entity, entry.owed)
                if type(job.command) is Wake:
                    self._under_way |= dict.fromkeys([one.id for one in entry.owed], self._mono)
            if job.settles:
                entity.outbox.pop(job.settles, None)
                self._unsettled.pop(job.settles, None)
            if entry.command_id:
                self._remember(entity, entry.command_id, job.digest, written.reply, self._now)
            self._entries.append(entry)
            self._encoded.append(Raw(written.data))
            entity.position = self.position + 1
            self._changed(job.entity, entity)
        elif type(job.command) is Wake and entity is not None:
            now = self._now
            self._schedule(job.entity, entity.wake if entity.wake > now else now + WAKE_AGAIN_S)
        for tell in decision.tells:
            self._step.now.append(Outgoing(tell.to, tell.command, self._sender(job.entity)))
        self._reply(job, written.reply, entity.position if entity is not None else 0)

    def _owe(self, entity_id: str, entity: _Entity, owed: Iterable[Owed]) -> None:
        sender = self._sender(entity_id)
        for effect in owed:
            entity.sent += 1
            entity.outbox[effect.id] = effect
            self._track(entity_id, effect, self.position + 1)
            self._step.later.append(
                Outgoing(effect.to, effect.command, sender, entity_id, owed_id=effect.id)
            )

    def _remember(
        self, entity: _Entity, command_id: str, digest: int, reply: bytes, at: float
    ) -> None:
        """Keep the answer; of the one that makes room for it, its digest (see ``Kind``)."""
        answers = entity.answers
        answers[command_id] = (digest, reply)
        if len(answers) > self.kind.answers_kept:
            oldest = next(iter(answers))
            faded, _ = answers.pop(oldest)
            if faded:
                if entity.past is None:
                    entity.past = History()
                histories.remember(entity.past, oldest, faded, at, ANSWERS_FADE_S)

    def _refuse(self, job: _Job, problem: Problem, *, failed: bool = False) -> None:
        self.stats.refusals += 1
        if job.settles and not problem.retryable and not failed:
            self.stats.effects_refused += 1
            self._settle_only(job)
        elif type(job.command) is Wake:
            self._schedule(job.entity, self._now + WAKE_AGAIN_S)
        else:
            entity = self._live.get(job.entity)
            self._reply(job, problem, entity.position if entity is not None else 0)
        self._release(job)

    def _reply(self, job: _Job, reply: bytes | Problem, position: int) -> None:
        for handle in job.handles:
            self._step.replies.append((position, handle, reply))

    def _sender(self, entity_id: str) -> str:
        return f"{self.kind.name}/{entity_id}"

    # ---------------------------------------------------------------- questions

    def _ask(self, job: _Job, ask: Ask) -> None:
        job.memo = ask.memo
        job.rounds += 1
        job.asked, job.waiting = {}, {}
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
            job.give_up_at = self._mono + ASK_GIVE_UP_S
            self._reasks.append((self._mono + REASK_S, job.entity, job.number))
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
        job.waiting[arrival.ask_id] = arrival.answer
        if len(job.waiting) == len(job.asked):
            self._answered_all(job)

    def _answered_all(self, job: _Job) -> None:
        job.answers += tuple(job.waiting[ask_id] for ask_id in job.asked)
        job.asked, job.waiting = {}, {}
        self._decide(job)

    def _release(self, job: _Job) -> None:
        """The job is done: what waited for its entity goes on."""
        if self._busy.get(job.entity) is not job:
            return
        del self._busy[job.entity]
        queue = self._queues.get(job.entity)
        while queue and job.entity not in self._busy:
            following = queue.popleft()
            entity = self._get(job.entity)
            known = entity.answers.get(following.command_id) if entity is not None else None
            if known is not None:
                self._repeat(following, known, entity.position)  # type: ignore[union-attr]
            elif entity is None or entity.past is None or not self._faded(following, entity):
                self._decide(following)
        if queue is not None and not queue:
            self._queues.pop(job.entity, None)

    def _reask(self) -> None:
        reasks = self._reasks
        while reasks and reasks[0][0] <= self._mono:
            _, entity_id, number = reasks.popleft()
            job = self._busy.get(entity_id)
            if job is None or job.number != number:
                continue
            if self._mono >= job.give_up_at:
                unknown = Unavailable(
                    "outcome-unknown", "A part did not answer in time; retry with the same key."
                )
                self._give_up(job, unknown.as_problem())
                continue
            reasks.append((self._mono + REASK_S, entity_id, number))
            self._step.now.extend(
                outgoing for ask_id, outgoing in job.asked.items() if ask_id not in job.waiting
            )

    def _give_up(self, job: _Job, why: Problem) -> None:
        for ask_id in job.asked:
            self._asks.pop(ask_id, None)
        job.asked = {}
        self._refuse(job, why)

    # ---------------------------------------------------------------- owed effects

    def _track(self, entity_id: str, owed: Owed, position: int = 0) -> None:
        resend_at = self._mono + RESEND_FIRST_S
        self._unsettled[owed.id] = _Unsettled(entity_id, owed, resend_at, position)
        heappush(self._resend_heap, (resend_at, owed.id))

    def _settle(self, arrival: Settled) -> None:
        self._under_way.pop(arrival.owed_id, None)
        pending = self._unsettled.get(arrival.owed_id)
        if pending is None:
            return
        answer = arrival.answer
        if isinstance(answer, Problem) and answer.retryable:
            return  # it is sent again when its time has come
        owed = pending.owed
        command = Answered(owed.to, self.registry.as_command(owed.to, owed.command), answer)
        job = _Job(arrival.entity, command, f"answer:{owed.id}", 0, owed.to, None)
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

    def _settle_only(self, job: _Job) -> None:
        """The effect is answered, and nothing else follows from it."""
        nothing = Decision()
        self._apply(job, nothing, self._written(job, self._get(job.entity), nothing))

    def _resend(self) -> None:
        heap = self._resend_heap
        for _ in range(min(len(heap), RESENDS_MAX)):
            if heap[0][0] > self._mono:
                break
            _, owed_id = heappop(heap)
            pending = self._unsettled.get(owed_id)
            if pending is None:
                continue
            pending.attempts += 1
            pause = min(RESEND_FIRST_S * 2**pending.attempts, RESEND_MAX_S)
            pending.resend_at = self._mono + pause
            heappush(heap, (pending.resend_at, owed_id))
            owed = pending.owed
            command = self.registry.as_command(owed.to, owed.command)
            self._step.now.append(
                Outgoing(
                    owed.to,
                    command,
                    self._sender(pending.entity),
                    pending.entity,
                    owed_id=owed_id,
                    after=pending.position,
                )
            )
        self._reask()

    # ---------------------------------------------------------------- timers

    def _fire_timers(self, most: int) -> None:
        heap, now, under_way = self._wake_heap, self._now, self._under_way
        while under_way and next(iter(under_way.values())) <= self._mono - UNDER_WAY_S:
            del under_way[next(iter(under_way))]
        fired = 0
        while heap and heap[0][0] <= now and fired < most and len(under_way) < UNDER_WAY_MAX:
            at, entity_id = heappop(heap)
            if self._wakes.get(entity_id) != at:
                continue
            fired += 1
            del self._wakes[entity_id]
            if entity_id in self._busy:
                self._schedule(entity_id, now + WAKE_AGAIN_S)
                continue
            self._decide(_Job(entity_id, Wake(), "", 0, "", None))

    def _schedule(self, entity_id: str, at: float) -> None:
        if at == NEVER:
            self._wakes.pop(entity_id, None)
        elif self._wakes.get(entity_id) != at:
            self._wakes[entity_id] = at
            heappush(self._wake_heap, (at, entity_id))

    # ---------------------------------------------------------------- memory

    def _get(self, entity_id: str) -> _Entity | None:
        """The live entity; one at rest is unpacked first."""
        entity = self._live.get(entity_id)
        if entity is None:
            data = self._packed.pop(entity_id, None) or self._stay(entity_id)
            if data is None:
                return None
            entity = self._live[entity_id] = self._unpack(data)
            self._watch_rest(entity_id, entity)
        return entity

    def _watch_rest(self, entity_id: str, entity: _Entity) -> None:
        if not entity.resting and not self.kind.few:
            entity.resting = True
            self._resting.append((self._mono + PACK_AFTER_S, entity_id))

    def _unpack(self, data: bytes) -> _Entity:
        packed = _packed_decoder.decode(data)
        entity = _Entity()
        entity.position = packed.position
        entity.wake, entity.finished = packed.wake, packed.finished
        entity.sent = packed.sent
        entity.outbox = {owed.id: owed for owed in packed.outbox}
        entity.answers = packed.answers
        entity.past = packed.past
        entity.state = self.codec.state(packed.state) if bytes(packed.state) != b"\xc0" else None
        entity.touched = self._mono
        return entity

    def _pack(self, entity: _Entity) -> bytes:
        state = Raw(encode(entity.state))
        return encode(
            _Packed(
                entity.position,
                entity.wake,
                entity.finished,
                entity.sent,
                list(entity.outbox.values()),
                entity.answers,
                state,
                entity.past,
            )
        )

    def _changed(self, entity_id: str, entity: _Entity) -> None:
        entity.touched = self._mono
        self._dirty[entity_id] = None
        self._watch_rest(entity_id, entity)
        if entity.state is None:  # it has nothing but answers: it may leave memory with them
            finished = self._now
        else:
            entity.wake = self.kind.wake_at(entity.state)
            self._schedule(entity_id, entity.wake)
            finished = self.kind.finished_at(entity.state)
        if finished != entity.finished:
            entity.finished = finished
            if finished != NEVER:
                heappush(self._finished, (finished, entity_id))

    def _rest(self) -> None:
        """Pack entities that nobody touched for a while; a few at a time."""
        resting = self._resting
        for _ in range(REST_SLICE):
            if not resting or resting[0][0] > self._mono:
                return
            _, entity_id = resting.popleft()
            entity = self._live.get(entity_id)
            if entity is None:
                continue
            if self._mono - entity.touched < PACK_AFTER_S or entity_id in self._busy:
                resting.append((self._mono + PACK_AFTER_S, entity_id))
                continue
            del self._live[entity_id]
            if entity.state is not None or entity.position:
                self._packed[entity_id] = self._pack(entity)

    # ---------------------------------------------------------------- snapshots

    def begin_snapshot(self) -> bool:
        """Start a pass over what changed since the last one; False when there is nothing.

        Entities are stored one by one, each with the position its state includes, so that the pass
        needs no copy of the whole: what changes meanwhile is simply stored again by the next pass.
        """
        if self._pass_position is not None:
            return True
        due = self._now - self._passivate_s
        ids, self._dirty = self._dirty, {}
        while self._finished and self._finished[0][0] <= due:
            ids[heappop(self._finished)[1]] = None
        if not ids:
            return False
        self._pass = list(ids)
        self._pass_position = self.position
        return True

    def snapshot_slice(self, epoch: int, entities_max: int, bytes_max: int) -> SnapshotWrite:
        """The next slice of the pass: as many entities, or as many bytes (and at least one entity).
        The caller writes it once :attr:`position` is on disk, or calls :meth:`give_pass_up`."""
        live: list[Stored] = []
        cold: list[Stored] = []
        size = 0
        while self._pass and size < bytes_max and len(live) + len(cold) < entities_max:
            entity_id = self._pass.pop()
            entity = self._live.get(entity_id)
            data = self._packed.get(entity_id) if entity is None else self._pack(entity)
            if data is None:
                continue
            header = _packed_decoder.decode(data)
            stored = Stored(entity_id, header.position, data)
            size += len(data)
            if header.finished > self._now - self._passivate_s:
                live.append(stored)
            elif header.outbox or entity_id in self._busy or entity_id in self._dirty:
                live.append(stored)
                heappush(self._finished, (self._now, entity_id))
            else:
                cold.append(stored)
                self._forget(entity_id)
                self._leaving[entity_id] = data
        covered = None
        if not self._pass:
            covered, self._pass_position = self._pass_position, None
        return SnapshotWrite(self.shard, epoch, live, cold, covered, self.kind.lasting)

    def give_pass_up(self, write: SnapshotWrite) -> None:
        """A slice could not be written: all of the pass belongs to the next one."""
        for stored in write.cold:
            data = self._leaving.pop(stored.entity_id, None)
            if data is not None:
                self._packed[stored.entity_id] = data
                heappush(self._finished, (self._now, stored.entity_id))
        for entity_id in (*(stored.entity_id for stored in write.live), *self._pass):
            self._dirty[entity_id] = None
        self._pass, self._pass_position = [], None

    def left(self, cold: Iterable[Stored]) -> None:
        """The cold store holds these now: they may be loaded from there."""
        for stored in cold:
            self._leaving.pop(stored.entity_id, None)

    def _stay(self, entity_id: str) -> bytes | None:
        """An entity addressed while it was leaving memory; it leaves some time later."""
        data = self._leaving.pop(entity_id, None)
        if data is not None:
            heappush(self._finished, (self._now, entity_id))
        return data

    def _forget(self, entity_id: str) -> None:
        self._live.pop(entity_id, None)
        self._packed.pop(entity_id, None)
        self._wakes.pop(entity_id, None)

    # ---------------------------------------------------------------- recovery

    def load(self, page: Iterable[Stored]) -> None:
        """Take entities of a snapshot (or of the cold store) into memory, without decoding them."""
        for stored in page:
            packed = _packed_decoder.decode(stored.data)
            self._packed[stored.entity_id] = stored.data
            self.loaded_to = max(self.loaded_to, packed.position)
            if packed.wake != NEVER:
                self._schedule(stored.entity_id, packed.wake)
            if packed.finished != NEVER:
                heappush(self._finished, (max(packed.finished, self._now), stored.entity_id))
            for owed in packed.outbox:
                self._track(stored.entity_id, owed)

    def unknown(self, record: Record) -> list[str]:
        """Entities of a record that are not in memory: look into the cold store before replay."""
        return [
            entry.entity
            for entry in record.entries
            if entry.entity not in self._live and entry.entity not in self._packed
        ]

    def replay(self, position: int, record: Record) -> None:
        """Apply a stored record of the tail. What an entity's snapshot already holds is skipped."""
        evolve = self.kind.evolve
        touched: dict[str, _Entity] = {}
        for entry in record.entries:
            entity = self._get(entry.entity)
            if entity is None:
                entity = self._live[entry.entity] = _Entity()
            if entity.position >= position:
                continue
            for event in entry.events:
                entity.state = evolve(entity.state, event)
            for owed in entry.owed:
                entity.sent += 1
                entity.outbox[owed.id] = owed
                self._track(entry.entity, owed)
            for owed_id in entry.settled:
                entity.outbox.pop(owed_id, None)
                self._unsettled.pop(owed_id, None)
            if entry.command_id:
                self._remember(entity, entry.command_id, entry.digest, entry.reply, record.at)
            touched[entry.entity] = entity
        for entity_id, entity in touched.items():
            entity.position = position
            self._changed(entity_id, entity)
        self.position = position

    def states(self) -> Iterable[tuple[str, Any]]:
        """Every entity in memory with its state, decoded."""
        for entity_id, entity in self._live.items():
            if entity.state is not None:
                yield entity_id, entity.state
        for entity_id, data in self._packed.items():
            state = self._unpack(data).state
            if state is not None:
                yield entity_id, state


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
