"""The four commands of an inbox, answered alike for every kind that owns one (store, rider).

The rules are ``domain.inbox``'s; a kind names its own facts, which have its stored names, and says
how its snapshot is made.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, assert_never

from actors.engine.kind import Decision
from domain import inbox as inboxes
from domain.inbox import (
    AcknowledgeInbox,
    DeviceAcknowledged,
    DeviceRegistered,
    GetSnapshot,
    Inbox,
    InboxPage,
    ReadInbox,
    RegisterDevice,
)

__all__ = ["Facts", "InboxCommand", "decide"]

InboxCommand: TypeAlias = RegisterDevice | AcknowledgeInbox | ReadInbox | GetSnapshot


class Facts(NamedTuple):
    """A kind's own facts."""

    registered: type[DeviceRegistered]
    acknowledged: type[DeviceAcknowledged]


def decide(
    inbox: Inbox, command: InboxCommand, now: float, facts: Facts, snapshot: Callable[[], bytes]
) -> Decision:
    """See each command's docstring in ``domain.inbox``; refused as ``check_newest`` and
    ``must_record`` there. ``snapshot`` makes the JSON document of what is open."""
    match command:
        case RegisterDevice():
            return _register(inbox, command, now, facts, snapshot)
        case AcknowledgeInbox(device_id, connection_id, offset):
            if not inboxes.must_record(inbox, device_id, connection_id, offset, now):
                return Decision()
            return Decision([facts.acknowledged(device_id, offset, now)])
        case ReadInbox(after, limit, epoch):
            return Decision(reply=_page(inbox, after, epoch, limit, snapshot))
        case GetSnapshot():
            return Decision(reply=_page(inbox, None, "", None, snapshot))
        case _:
            assert_never(command)


def _register(
    inbox: Inbox, command: RegisterDevice, now: float, facts: Facts, snapshot: Callable[[], bytes]
) -> Decision:
    inboxes.check_newest(inbox, command.device_id, command.connection_id, command.connected_at)
    after = inboxes.starting_after(inbox, command.after, command.epoch)
    registered = facts.registered(
        command.device_id, command.connection_id, after, now, command.connected_at
    )
    page = _page(inbox, command.after, command.epoch, None, snapshot)
    return Decision([registered], reply=page)


def _page(
    inbox: Inbox, after: int | None, epoch: str, limit: int | None, snapshot: Callable[[], bytes]
) -> InboxPage:
    found = inboxes.read(inbox, after, epoch, limit)
    if found is None:
        return InboxPage(inbox.epoch, inbox.head, (), snapshot())
    return InboxPage(inbox.epoch, inbox.head, found)
