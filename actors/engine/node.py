"""A node: the shards of one process, and the ways between them and to everybody else.

A message for a shard of the same process never leaves it; one for another process goes through
that peer's mailbox; one for the outside (``provider/…``, ``notify/…``) through its effect handler.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from actors.engine.appends import AppendQueue, Early, Queued
from actors.engine.codec import Registry, digest_of, encode
from actors.engine.feed import JournalFeed, apply_record, keep_views, prime_views
from actors.engine.host import Host
from actors.engine.journal_health import JournalHealth, until_journal_answers
from actors.engine.mailbox import Mailbox, OnAnswer, Receiver
from actors.engine.placement import Plan
from actors.engine.ports import Clock, Effect, Journal, Record, Shard
from actors.engine.shell import Shell
from actors.engine.step import AskAnswered, Deliver, Outgoing, Settled
from actors.engine.wire import Item
from domain.errors import Busy, DoorstepError, Problem, Refused, Unavailable
from domain.message import ONCE

__all__ = ["Node", "ViewsPort"]

log = structlog.get_logger(__name__)

Answer = Callable[..., None]
"""Takes a reply, and (from a shard of this process) the append that it depends on."""
EFFECTS_AT_ONCE = 64
"""Calls to the outside in flight per process."""


class ViewsPort:
    """What a node needs of its read models: see ``actors.views.Views``."""

    kinds_followed: tuple[str, ...] = ()

    def load(self, kind: str, entity: str, state: Any) -> None:
        """Take over an entity's state."""

    def apply(self, kind: str, entity: str, event: Any, at: float) -> None:
        """Follow one event."""

    def forget(self, kind: str, gone: Callable[[str], bool]) -> None:
        """Drop the entities that ended while nobody followed."""


class Node:
    """The shards that ``plan`` gives to ``name``, alive in this process."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        registry: Registry,
        journal: Journal,
        clock: Clock,
        *,
        views: Any = None,
        effects: Mapping[str, Effect] | None = None,
        connect: Callable[[str], Callable[[bytes], Awaitable[bytes]]] | None = None,
        incarnation: str = "0",
        passivate_s: float = 600.0,
        on_fenced: Callable[[Shard], None] | None = None,
    ) -> None:
        self.name = name
        self.plan = plan
        self.registry = registry
        self.journal = journal
        self.clock = clock
        self.views = views if views is not None else ViewsPort()
        self._effects = dict(effects or {})
        self._effect_room = asyncio.Semaphore(EFFECTS_AT_ONCE)
        self._connect = connect
        self._peer_name = f"{name}#{incarnation}"
        self._mailboxes: dict[str, Mailbox] = {}
        self._appends = AppendQueue(journal)
        self._receiver = Receiver(self._dispatch_item)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._started = asyncio.Event()
        self._outstanding: set[str] = set()
        self._on_fenced = on_fenced or (lambda _shard: None)
        self.shells: dict[Shard, Shell] = {}
        for shard in plan.hosts.get(name, ()):
            host = Host(
                shard, registry.codecs[shard.kind], registry, self.views, passivate_s=passivate_s
            )
            self.shells[shard] = Shell(
                host,
                journal,
                self._appends,
                clock,
                self,
                on_reply=lambda handle, reply: handle(reply),
                on_fenced=self._fenced,
            )

    # ---------------------------------------------------------------- life

    async def start(self) -> None:
        """Recover every shard, fill the views, then serve: a timer or an answer that came before
        the views were whole would be decided on what they lack."""
        self._spawn(self._appends.run(), vital=True)
        followed = self.views.kinds_followed
        for shard, shell in self.shells.items():
            await shell.recover()
            if shard.kind in followed:
                for entity, state in shell.host.states():
                    self.views.load(shard.kind, entity, state)
        away = [
            shard
            for kind in followed
            for shard in self.plan.shards_of(kind)
            if shard not in self.shells
        ]
        if away:
            await self._follow(away)
        for shell in self.shells.values():
            shell.serve()
        self._spawn(self._learn_cold())
        self._started.set()
        log.info("node.ready", node=self.name, shards=[str(shard) for shard in self.shells])

    async def stop(self) -> None:
        """Stop serving at once: like a crash, but tidy."""
        for shell in self.shells.values():
            await shell.stop()
        for mailbox in self._mailboxes.values():
            await mailbox.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Per shard: counters, backlog and position, for the metrics."""
        return {
            str(shard): {
                **msgspec.structs.asdict(shell.host.stats),
                "backlog": shell.backlog,
                "position": shell.committed,
                "epoch": shell.epoch,
            }
            for shard, shell in self.shells.items()
        }

    async def _follow(self, shards: list[Shard]) -> None:
        """Views of shards that live elsewhere: their states now, their events from then on."""
        feed = JournalFeed(self.journal, self.registry)
        cursors = await prime_views(self.views, feed, shards)
        self._spawn(keep_views(self.views, feed, shards, cursors, self.plan.shard_of), vital=True)

    async def _learn_cold(self) -> None:
        """Which entities left memory before this node took its shards over; until that is known
        the cold store is asked. Nobody adds to it behind our back: older writers are fenced."""
        # a long read of its own: whether it works says nothing of the appends
        await until_journal_answers(self._read_cold, JournalHealth())
        for shell in self.shells.values():
            shell.cold.know_all()

    async def _read_cold(self) -> None:
        async for shard, ids in self.journal.cold_ids(tuple(self.shells)):
            self.shells[shard].cold.add(ids)
            await asyncio.sleep(0)

    def _spawn(self, work: Any, *, vital: bool = False) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._vital_ended if vital else self._tasks.discard)

    def _vital_ended(self, task: "asyncio.Task[Any]") -> None:
        """Without its appends or its views a node is of no use: its successor starts afresh."""
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        log.error("node.failed", node=self.name, exc_info=task.exception())
        self._give_up()

    def _fenced(self, shard: Shard) -> None:
        """Shards that built on each other's changes before the disk go together."""
        self._give_up()
        self._on_fenced(shard)

    def _give_up(self) -> None:
        for shell in self.shells.values():
            if not shell.closed:
                shell.give_up()

    # ---------------------------------------------------------------- from peers

    async def exchange(self, payload: bytes) -> bytes:
        """One exchange with a peer's mailbox (see ``mailbox.py``)."""
        await self._started.wait()
        return await self._receiver.exchange(payload)

    def _dispatch_item(self, item: Item, on_answer: OnAnswer | None) -> None:
        self.deliver(item.to, item.body, item.command_id, item.sender, on_answer)

    def deliver(
        self, to: str, body: bytes, command_id: str, sender: str, on_answer: OnAnswer | None
    ) -> None:
        """A command from outside this process for one of its shards."""
        kind, _, entity = to.partition("/")
        shell = self._shell(kind, entity)
        if shell is None:
            if on_answer is not None:
                on_answer(_not_here(to))
            return
        try:
            command = self.registry.codecs[kind].command(body)
        except ValueError as error:  # msgspec.ValidationError is one
            refused = Refused("malformed-command", f"{to} does not understand this: {error}.")
            if on_answer is not None:
                on_answer(refused.as_problem())
            return
        keyed = command_id and not sender and not command_id.startswith(ONCE)
        digest = digest_of(command, body) if keyed else 0
        shell.put(Deliver(entity, command, command_id, digest, sender, on_answer))

    def _shell(self, kind: str, entity: str) -> Shell | None:
        if kind not in self.plan.shards:
            return None
        return self.shells.get(self.plan.shard_of(kind, entity))

    # ---------------------------------------------------------------- from our shards

    def send(self, shard: Shard, outgoing: Outgoing) -> None:
        """Route a message of one of our shards; its answer comes back as an arrival.

        What is already on its way is not sent a second time: the host repeats itself until it is
        answered, and a slow receiver must not be buried in repeats.
        """
        unique = outgoing.ask_id or outgoing.owed_id
        if unique:
            if unique in self._outstanding:
                return
            self._outstanding.add(unique)
        kind, _, entity = outgoing.to.partition("/")
        answer = self._answer_to(shard, outgoing)
        if kind in self._effects:
            self._spawn(self._effect(outgoing, kind, entity, answer))
            return
        target = self.plan.shard_of(kind, entity)
        owner = self.plan.node_of[target]
        if owner == self.name:
            early = None if answer is None else Early(answer)
            self.shells[target].put(
                Deliver(entity, outgoing.command, outgoing.owed_id, 0, outgoing.sender, early)
            )
            return
        try:
            self._mailbox(owner).post(
                outgoing.to, encode(outgoing.command), outgoing.owed_id, outgoing.sender, answer
            )
        except Busy:
            self._outstanding.discard(unique)  # the host sends it again later

    def committed(self, shard: Shard, position: int, record: Record) -> None:
        """Keep this process's views as current as its own shards."""
        if shard.kind in self.views.kinds_followed:
            apply_record(self.views, shard, record)

    def _answer_to(self, shard: Shard, outgoing: Outgoing) -> Answer | None:
        if not outgoing.ask_id and not outgoing.owed_id:
            return None
        return partial(self._answered, self.shells[shard], outgoing)

    def _answered(
        self, shell: Shell, outgoing: Outgoing, reply: bytes | Problem, stored: Queued | None = None
    ) -> None:
        ask_id, owed_id = outgoing.ask_id, outgoing.owed_id
        self._outstanding.discard(ask_id or owed_id)
        answer = self.registry.reply(outgoing.to, reply) if isinstance(reply, bytes) else reply
        if stored is not None:
            shell.lean(stored)
        shell.put(
            AskAnswered(ask_id, answer) if ask_id else Settled(outgoing.entity, owed_id, answer)
        )

    def _mailbox(self, node: str) -> Mailbox:
        mailbox = self._mailboxes.get(node)
        if mailbox is None:
            if self._connect is None:
                raise RuntimeError(f"{self.name} has no way to {node}")
            mailbox = self._mailboxes[node] = Mailbox(node, self._peer_name, self._connect(node))
        return mailbox

    async def _effect(
        self, outgoing: Outgoing, kind: str, name: str, on_answer: OnAnswer | None
    ) -> None:
        reply: bytes | Problem
        async with self._effect_room:
            try:
                answer = await self._effects[kind](name, outgoing.command, outgoing.owed_id)
                reply = encode(answer)
            except DoorstepError as error:
                reply = error.as_problem()
            except Exception as error:  # whatever the outside does, the effect stays owed
                log.warning("effect.failed", to=outgoing.to, error=repr(error))
                reply = Unavailable("effect-failed", repr(error)).as_problem()
        if on_answer is not None:
            on_answer(reply)


def _not_here(to: str) -> Problem:
    return Unavailable(
        "not-here", f"{to} is not hosted by this process; retry: the plan may have changed."
    ).as_problem()
