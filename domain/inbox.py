"""The durable inbox of a store or a rider (ARCHITECTURE, Inbox): dense offsets, devices, trimming.

Every message gets the next offset in the same append as the change it tells of. A device stores a
message, then acknowledges its offset; messages are kept until every registered device has
acknowledged them. A device silent for longer than :data:`DEVICE_SILENT_S`, or further behind than
:data:`MESSAGES_MAX`, no longer holds messages back: it will get a snapshot when it returns.

The commands and facts here are what owners share: each kind derives its own from them, with its own
stored names, and ``actors.inbox`` answers them for all.
"""

from collections.abc import Sequence
from typing import Any, assert_never

from msgspec import Struct, field

from domain.errors import Refused
from domain.message import Command, Event, Value

__all__ = [
    "DEVICES_MAX", "DEVICE_SILENT_S", "GAP_MAX", "MESSAGES_MAX", "SEEN_REFRESH_S", "UNCLAIMED_MAX",
    "AcknowledgeInbox", "Device", "DeviceAcknowledged", "DeviceRegistered", "GetSnapshot", "Inbox",
    "InboxMessage", "InboxPage", "Noted", "ReadInbox", "RegisterDevice", "acknowledge",
    "check_newest", "compose", "epoch_of", "evolve", "grow", "must_record", "read", "register",
    "starting_after",
]  # fmt: skip

DEVICE_SILENT_S = 7 * 86_400.0
MESSAGES_MAX = 5_000
GAP_MAX = 1_000
"""A reconnecting device that is further behind gets a snapshot: it is shorter than the gap."""
UNCLAIMED_MAX = 200
"""Messages kept while no device is registered, for readers over HTTP."""
DEVICES_MAX = 32
"""Devices per owner; the one silent for longest makes room."""
SEEN_REFRESH_S = 3_600.0
"""An idle device's acknowledgements are recorded this often, so that it does not count silent."""


class InboxMessage(Value):
    """One message. ``data`` is its JSON document as bytes (see the kind's ``messages`` module),
    ``id`` is unique over all time and the same whenever the message is seen again."""

    offset: int
    id: str
    type: str
    at: float
    data: bytes


class Device(Struct, array_like=True, gc=False):
    """One device of the inbox's owner. The newest ``connection_id`` wins."""

    connection_id: str
    acked: int
    seen_at: float
    connected_at: float = 0.0
    """When its gateway accepted that connection; 0 when unknown."""


class Inbox(Struct, array_like=True, gc=False):
    """State: ``messages`` are those after ``trimmed`` up to ``head``, in order."""

    epoch: str
    """Changes only if offsets were ever to restart; a device that knows another gets a snapshot."""
    head: int = 0
    trimmed: int = 0
    messages: list[InboxMessage] = field(default_factory=list)
    devices: dict[str, Device] = field(default_factory=dict)


class InboxPage(Struct, frozen=True, array_like=True, tag="inbox.page.v1", gc=False):
    """A reply: messages after the asked offset, or a snapshot of what is open plus the head."""

    epoch: str
    head: int
    messages: tuple[InboxMessage, ...] = ()
    snapshot: Any = None
    """JSON document (bytes) when the gap can no longer be replayed, else None."""


class RegisterDevice(Command):
    """A device (re)connects. Reply: ``InboxPage`` after ``after`` (or a snapshot when ``after`` is
    None, of another epoch, or trimmed). The newest connection of a device wins."""

    device_id: str
    connection_id: str
    after: int | None = None
    epoch: str = ""
    connected_at: float = 0.0
    """When its gateway accepted the connection (service time): one older than the device's known
    connection is refused with ``stale-connection``, however late it arrives. 0: unknown, newest."""


class AcknowledgeInbox(Command):
    """*Received*: the device has stored everything up to ``offset``. An older connection of the
    device is refused with ``stale-connection``."""

    device_id: str
    connection_id: str
    offset: int


class ReadInbox(Command):
    """Read up to ``limit`` messages after ``after``. Reply: ``InboxPage``, a snapshot if the gap
    cannot be replayed or ``epoch`` (if given) is not the inbox's."""

    after: int
    limit: int = 500
    epoch: str = ""


class GetSnapshot(Command):
    """What is open, plus the head. Reply: ``InboxPage`` with ``snapshot``."""


class Noted(Event):
    """Messages for the owner's devices, with their offsets: the inbox's growth. The gateway
    forwards these to sockets and looks at nothing else of the kind."""

    messages: tuple[InboxMessage, ...]


class DeviceRegistered(Event):
    """A device connected; ``after`` is what it has stored."""

    device_id: str
    connection_id: str
    after: int
    at: float
    connected_at: float = 0.0


class DeviceAcknowledged(Event):
    """A device has stored everything up to ``offset``."""

    device_id: str
    offset: int
    at: float


def evolve(inbox: Inbox, event: Noted | DeviceRegistered | DeviceAcknowledged) -> None:
    """Apply one fact, in place."""
    match event:
        case Noted():
            grow(inbox, event.messages)
        case DeviceRegistered():
            register(
                inbox, event.device_id, event.connection_id, event.after, event.at,
                event.connected_at,
            )  # fmt: skip
        case DeviceAcknowledged():
            acknowledge(inbox, event.device_id, event.offset, event.at)
        case _:
            assert_never(event)


def epoch_of(at: float) -> str:
    """The epoch of an inbox born at ``at`` (seconds): offsets of another birth never match it."""
    return format(int(at * 1000), "x")


def compose(
    inbox: Inbox, owner: str, drafts: Sequence[tuple[str, bytes]], at: float
) -> tuple[InboxMessage, ...]:
    """Messages for the drafts (type, JSON document), with the offsets that follow the head."""
    return tuple(
        InboxMessage(offset, f"{owner}:{inbox.epoch}:{offset}", kind, at, data)
        for offset, (kind, data) in enumerate(drafts, inbox.head + 1)
    )


def read(
    inbox: Inbox, after: int | None, epoch: str = "", limit: int | None = None
) -> tuple[InboxMessage, ...] | None:
    """The messages after ``after``, at most ``limit``; None when only a snapshot can help: nothing
    known yet, another epoch, already trimmed, or an offset that was never given out. ``epoch`` ""
    stands for the current one. Without ``limit`` a gap beyond :data:`GAP_MAX` is a snapshot too.
    """
    if after is None or (epoch and epoch != inbox.epoch):
        return None
    if not inbox.trimmed <= after <= inbox.head:
        return None
    if limit is None:
        if inbox.head - after > GAP_MAX:
            return None
        limit = GAP_MAX
    start = after - inbox.trimmed
    return tuple(inbox.messages[start : start + max(limit, 0)])


def starting_after(inbox: Inbox, after: int | None, epoch: str) -> int:
    """What a registering device has stored: its own word, or the head that a snapshot gives it."""
    if after is None or read(inbox, after, epoch) is None:
        return inbox.head
    return after


def check_newest(inbox: Inbox, device_id: str, connection_id: str, connected_at: float) -> None:
    """Raises ``Refused`` with ``stale-connection`` for a registration that was overtaken by that of
    a newer connection of the device. ``connected_at`` 0 counts as the newest."""
    device = inbox.devices.get(device_id)
    if device is None or device.connection_id == connection_id or not connected_at:
        return
    if connected_at < device.connected_at:
        raise _stale()


def must_record(inbox: Inbox, device_id: str, connection_id: str, offset: int, at: float) -> bool:
    """Whether an acknowledgement tells anything new.

    Raises ``Refused``: ``offset-ahead`` (whoever says so), ``unknown-device``, ``stale-connection``
    (a newer connection of the device has registered).
    """
    if offset > inbox.head:
        raise Refused(
            "offset-ahead",
            f"The newest message is {inbox.head}; acknowledge only what was received.",
            head=inbox.head,
        )
    device = inbox.devices.get(device_id)
    if device is None:
        raise Refused("unknown-device", "Register the device before it acknowledges.")
    if device.connection_id != connection_id:
        raise _stale()
    return offset > device.acked or at - device.seen_at >= SEEN_REFRESH_S


def grow(inbox: Inbox, messages: Sequence[InboxMessage]) -> None:
    """Put composed messages at the inbox's end (evolve)."""
    if not messages:
        return
    inbox.messages.extend(messages)
    inbox.head = messages[-1].offset
    _trim(inbox, messages[-1].at)


def register(
    inbox: Inbox, device_id: str, connection_id: str, after: int, at: float, connected_at: float = 0
) -> None:
    """A device connected and has stored everything up to ``after`` (evolve)."""
    inbox.devices[device_id] = Device(connection_id, after, at, connected_at)
    if len(inbox.devices) > DEVICES_MAX:
        del inbox.devices[min(inbox.devices, key=lambda name: inbox.devices[name].seen_at)]
    _trim(inbox, at)


def acknowledge(inbox: Inbox, device_id: str, offset: int, at: float) -> None:
    """A device has stored everything up to ``offset`` (evolve)."""
    device = inbox.devices.get(device_id)
    if device is not None:
        device.acked = max(device.acked, offset)
        device.seen_at = at
    _trim(inbox, at)


def _stale() -> Refused:
    return Refused(
        "stale-connection",
        "A newer connection of this device has registered; close this one or register again.",
    )


def _trim(inbox: Inbox, at: float) -> None:
    """Forget what every device has stored; devices silent for too long do not count any more."""
    devices = inbox.devices
    for name in [name for name, known in devices.items() if at - known.seen_at > DEVICE_SILENT_S]:
        del devices[name]
    if devices:
        floor = min(device.acked for device in devices.values())
        floor = max(floor, inbox.head - MESSAGES_MAX)
    else:
        floor = inbox.head - UNCLAIMED_MAX
    if floor > inbox.trimmed:
        del inbox.messages[: floor - inbox.trimmed]
        inbox.trimmed = floor
