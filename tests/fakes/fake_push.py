"""A runtime with real inboxes and a feed, in memory, that tests can stall, cut and break."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from actors.engine.ports import Entry, FeedRecord, Record, Shard
from domain import inbox as inboxes
from domain import order, rider, store
from domain.errors import Refused, Unavailable
from domain.inbox import Inbox, InboxMessage, InboxPage
from domain.message import Command, Event
from domain.order.views import OrderView

__all__ = ["FakeRuntime", "drafts"]

_EVENTS: dict[str, Any] = {"store": store, "rider": rider}


def drafts(*texts: str) -> list[tuple[str, bytes]]:
    """Messages of type ``test.said`` with ``{"text": …}`` inside."""
    return [("test.said", b'{"text":"%s"}' % text.encode()) for text in texts]


class FakeRuntime:
    """See ``actors.engine.ports.Runtime``; one shard per kind; it is its own feed.

    ``away``: questions are not answered. ``stalled``: committed records do not reach the feed.
    """

    def __init__(self, at: float = 1_760_000_000.0) -> None:
        self.at = at
        self.away = False
        self.stalled = False
        self.page_limit = inboxes.GAP_MAX
        self.inboxes: dict[str, Inbox] = {}
        self.states_of: dict[str, dict[str, Any]] = {}
        self.ended_ids: list[str] = []
        self.orders: dict[str, OrderView] = {}
        self.asked: list[tuple[str, Command]] = []
        self.records: dict[Shard, list[FeedRecord]] = {}
        self._news = asyncio.Condition()

    # Runtime

    @property
    def feed(self) -> "FakeRuntime":
        return self

    def shards_of(self, kind: str) -> Sequence[Shard]:
        return (Shard(kind, 0),)

    async def ask(
        self, to: str, command: Command, *, command_id: str, timeout_s: float = 10.0
    ) -> Any:
        self.asked.append((to, command))
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("journal-away", "Try again.")
        return self.answer(to, command)

    def tell(self, to: str, command: Command) -> None:
        self.asked.append((to, command))

    async def close(self) -> None:
        pass

    # Feed

    async def states(self, shard: Shard) -> tuple[dict[str, Any], int]:
        await asyncio.sleep(0)
        states = self.states_of.get(shard.kind, {})
        return dict(states), len(self.records.get(shard, ()))

    async def ended(self, shards: Sequence[Shard], tell: Callable[[list[str]], None]) -> None:
        await asyncio.sleep(0)
        tell(self.ended_ids)

    async def follow(
        self, shards: Sequence[Shard], after: Mapping[Shard, int]
    ) -> AsyncIterator[list[FeedRecord]]:
        cursors = dict(after)
        while True:
            async with self._news:
                await self._news.wait_for(lambda: not self.stalled and self._fresh(cursors))
                batch = self._fresh(cursors)
            for record in batch:
                cursors[record.shard] = record.position
            yield batch

    def _fresh(self, cursors: Mapping[Shard, int]) -> list[FeedRecord]:
        return [
            record
            for shard, cursor in cursors.items()
            for record in self.records.get(shard, [])
            if record.position > cursor
        ]

    # What tests do

    def answer(self, to: str, command: Command) -> Any:
        """The entity's answer, at once."""
        if isinstance(command, order.Get):
            view = self.orders.get(to.partition("/")[2])
            if view is None:
                raise Refused("unknown-order", "There is no such order.")
            return view
        match command:
            case store.RegisterDevice(device, connection, after, epoch) | rider.RegisterDevice(
                device, connection, after, epoch
            ):
                return self._register(to, device, connection, after, epoch)
            case store.ReadInbox(after, limit) | rider.ReadInbox(after, limit):
                return self._page(to, after, "", min(limit, self.page_limit))
            case store.AcknowledgeInbox(device, connection, offset) | rider.AcknowledgeInbox(
                device, connection, offset
            ):
                inbox = self.inbox(to)
                if inboxes.must_record(inbox, device, connection, offset, self.at):
                    inboxes.acknowledge(inbox, device, offset, self.at)
                return None
        raise AssertionError(f"unexpected {command}")

    def inbox(self, owner: str) -> Inbox:
        """The owner's inbox, born when first asked for."""
        return self.inboxes.setdefault(owner, Inbox(inboxes.epoch_of(self.at)))

    def note(self, owner: str, *texts: str) -> tuple[InboxMessage, ...]:
        """Commit messages for the owner; they wait for :meth:`publish`."""
        inbox = self.inbox(owner)
        messages = inboxes.compose(inbox, owner, drafts(*texts), self.at)
        inboxes.grow(inbox, messages)
        kind = owner.partition("/")[0]
        self.commit(owner, _EVENTS[kind].Noted(messages))
        return messages

    def commit(self, to: str, *events: Event) -> FeedRecord:
        """Commit a record; it waits for :meth:`publish`."""
        kind, _, entity = to.partition("/")
        shard = Shard(kind, 0)
        records = self.records.setdefault(shard, [])
        position = records[-1].position + 1 if records else 1
        record = FeedRecord(shard, position, Record(self.at, (Entry(entity, events),)))
        records.append(record)
        return record

    async def publish(self) -> None:
        """Let the feed hand out what was committed."""
        async with self._news:
            self._news.notify_all()

    async def say(self, owner: str, *texts: str) -> None:
        """Commit and publish."""
        self.note(owner, *texts)
        await self.publish()

    def _register(
        self, owner: str, device: str, connection: str, after: int | None, epoch: str
    ) -> InboxPage:
        inbox = self.inbox(owner)
        stored = inboxes.starting_after(inbox, after, epoch)
        page = self._page(owner, after, epoch, None)
        inboxes.register(inbox, device, connection, stored, self.at)
        kind = owner.partition("/")[0]
        self.commit(owner, _EVENTS[kind].DeviceRegistered(device, connection, stored, self.at))
        return page

    def _page(self, owner: str, after: int | None, epoch: str, limit: int | None) -> InboxPage:
        inbox = self.inbox(owner)
        messages = inboxes.read(inbox, after, epoch, limit)
        if messages is None:
            return InboxPage(inbox.epoch, inbox.head, (), b'{"open":%d}' % inbox.head)
        if limit is None:
            messages = messages[: self.page_limit]
        return InboxPage(inbox.epoch, inbox.head, messages)
