"""Inbox sockets of one gateway: fan-out of committed messages, acknowledgements, timers.

Each message is encoded once, and only if one of its owner's devices is connected here. No task is
made per message; a session that has to look into its inbox makes one for that.
"""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import count
from typing import Any
from uuid import uuid4

import structlog

from actors.engine.ports import Clock, Runtime
from domain import rider, store
from domain.errors import DoorstepError, Refused
from domain.inbox import InboxMessage, InboxPage
from orchestrator.push.connection import Connection, Receive, Send
from orchestrator.push.direct import Writers
from orchestrator.push.frames import CloseCode
from orchestrator.push.outbox import Outbox
from orchestrator.push.protocol import (
    ACK_EVERY,
    Authenticate,
    Close,
    InboxSession,
    Read,
    Register,
    Session,
    event_frame,
)

__all__ = ["ACK_S", "Hub", "Member", "Presence", "Verify", "close_code_of", "restarting"]

ACK_S = 0.2
"""Acknowledgements of a device are passed on at most so often (real seconds), or each
``ACK_EVERY`` messages."""
ASK_S = 2.0
"""Real seconds one question to an inbox may take before it is asked again."""
RESUME_S = 15.0
"""Real seconds an inbox may be out of reach before the socket is closed (to resume)."""
LAGS_KEPT = 1024

_log = structlog.get_logger(__name__)
_MODULES: dict[str, Any] = {"store": store, "rider": rider}

Presence = Callable[[str, str, bool], None]
"""Told of (owner such as ``store/s-1``, device id, connected)."""
Verify = Callable[[str], float]
"""Returns for how many real seconds the token is good; raises ``Refused``."""


class Member:
    """One connected device: its session, its socket, and the question it has open."""

    __slots__ = (
        "acking", "connected_at", "connection", "owner", "owner_id", "registered", "session",
    )  # fmt: skip

    def __init__(self, owner: str, session: InboxSession, connected_at: float) -> None:
        self.owner = owner
        self.connected_at = connected_at
        """Service time: orders the connections of a device over all gateways."""
        self.owner_id = owner.partition("/")[2]
        self.session = session
        self.connection: Connection
        self.acking = False
        self.registered = False
        """The feed has shown this connection's registration: a later one supersedes it."""

    @property
    def module(self) -> Any:
        """``domain.store`` or ``domain.rider``."""
        return _MODULES[self.owner.partition("/")[0]]


class Hub:
    """All inbox sockets of a gateway. A consumer of :class:`orchestrator.push.tail.Tail`."""

    kinds: Sequence[str] = ("store", "rider")

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        *,
        heartbeat_s: float,
        queue_bytes_max: int,
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._queue_bytes_max = queue_bytes_max
        self._members: dict[str, dict[str, Member]] = {}
        self._acks: dict[Member, None] = {}
        self._due: list[tuple[float, int, Connection]] = []
        self._order = count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._closing = False
        self.writers = Writers()
        """Of all sockets of this gateway."""
        self.presence: list[Presence] = []
        self.lags_s: deque[float] = deque(maxlen=LAGS_KEPT)
        """Real seconds from commit to fan-out, of the newest messages that had a listener."""

    # Sockets

    async def serve(self, owner: str, verify: Verify, receive: Receive, send: Send) -> None:
        """One device's socket to ``owner``'s inbox, until it ends."""
        session = InboxSession(
            uuid4().hex,
            Outbox(self._queue_bytes_max),
            heartbeat_s=self._heartbeat_s,
            now=time.monotonic(),
        )
        member = Member(owner, session, self._clock.now())
        member.connection = Connection(
            session,
            audience=owner.partition("/")[0],
            writers=self.writers,
            now=time.monotonic,
            on_want=lambda want: self._on_want(member, verify, want),
            on_received=lambda: self._on_received(member),
            on_drained=lambda: member.connection.handle(session.drained()),
        )
        self.watch(member.connection)
        if self._closing:
            member.connection.handle(restarting(session))
        try:
            await member.connection.run(receive, send)
        finally:
            self._detach(member)

    def watch(self, connection: Connection) -> None:
        """Let the hub's timer tick this connection until it is closed. To be repeated when its
        session's ``next_at`` became earlier."""
        connection.due_at = connection.session.next_at
        heapq.heappush(self._due, (connection.due_at, next(self._order), connection))
        if self._timer is None:
            self._timer = asyncio.create_task(self._tick_for_ever(), name="push-timer")

    @property
    def closing(self) -> bool:
        """The gateway shuts down: nobody new is served."""
        return self._closing

    def devices(self, owner: str) -> Sequence[str]:
        """Ids of the owner's devices connected to this gateway."""
        return tuple(self._members.get(owner, ()))

    def figures(self) -> dict[str, Any]:
        """Devices connected here, and how long messages took from commit to fan-out (real
        milliseconds, of the newest :data:`LAGS_KEPT`)."""
        lags = sorted(self.lags_s)
        figures: dict[str, Any] = {"devices": sum(map(len, self._members.values()))}
        if lags:
            figures["p50_ms"] = round(lags[len(lags) // 2] * 1000, 1)
            figures["p99_ms"] = round(lags[len(lags) * 99 // 100] * 1000, 1)
        return figures

    def recheck(self) -> None:
        """Close every socket whose token is good no more, such as that of an unpaired device."""
        for _, _, connection in list(self._due):
            try:
                connection.check()
            except Refused as refused:
                close = connection.session.fail(
                    close_code_of(refused.code), refused.code, refused.detail
                )
                connection.handle(close)

    async def close(self) -> None:
        """Close every socket with a resumable code and wait for the frames to leave."""
        self._closing = True
        for _, _, connection in list(self._due):
            connection.handle(restarting(connection.session))
        timer, self._timer = self._timer, None
        tasks = [*self._tasks, *([timer] if timer else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Consumer of the tail

    def reset(self) -> None:
        """The tail starts anew; sockets stay, see :meth:`loaded`."""

    def load(self, kind: str, entity: str, state: Any) -> None:
        """Inboxes are read when a device asks, not kept here."""

    def loaded(self) -> None:
        """The feed may have skipped something: everyone connected looks into their inbox."""
        for member in self._all():
            member.connection.handle(member.session.doubt())

    def apply(self, kind: str, entity: str, event: Any, at: float) -> None:
        """Forward what was noted for connected devices."""
        members = self._members.get(f"{kind}/{entity}")
        if members is None:
            return
        if isinstance(event, store.Noted | rider.Noted):
            self._fan_out(members, event.messages)
            self.lags_s.append(max(0.0, self._clock.now() - at) / self._clock.speed)
        elif isinstance(event, store.DeviceRegistered | rider.DeviceRegistered):
            self._registered(members, event.device_id, event.connection_id)

    def _fan_out(self, members: dict[str, Member], messages: Sequence[InboxMessage]) -> None:
        for message in messages:
            frame = event_frame(message)
            for member in tuple(members.values()):
                want = member.session.deliver(message.offset, frame)
                if want is not None:
                    member.connection.handle(want)

    def _registered(self, members: dict[str, Member], device_id: str, connection_id: str) -> None:
        member = members.get(device_id)
        if member is None:
            return
        if member.session.connection_id == connection_id:
            member.registered = True
        elif member.registered:
            _supersede(member)

    # What sessions want

    def _on_want(
        self, member: Member, verify: Verify, want: Authenticate | Register | Read
    ) -> None:
        match want:
            case Authenticate(token):
                self._authenticate(member, verify, token)
            case Register() | Read():
                self._spawn(self._ask_inbox(member, want))

    def _authenticate(self, member: Member, verify: Verify, token: str) -> None:
        session = member.session
        try:
            expires_in_s = verify(token)
        except Refused as refused:
            member.connection.handle(
                session.fail(close_code_of(refused.code), refused.code, refused.detail)
            )
            return
        member.connection.check = lambda: verify(token)
        members = self._members.setdefault(member.owner, {})
        older = members.get(session.device_id)
        members[session.device_id] = member
        if older is not None:
            _supersede(older)
        for told in self.presence:
            told(member.owner, session.device_id, True)
        member.connection.handle(session.authenticated(time.monotonic(), expires_in_s))
        self.watch(member.connection)

    async def _ask_inbox(self, member: Member, want: Register | Read) -> None:
        session = member.session
        command = self._inbox_command(member, want)
        give_up_at = time.monotonic() + RESUME_S
        while not member.connection.ended:
            try:
                # Harmless when repeated; without an id its large answer is not kept either.
                page: InboxPage = await self._runtime.ask(
                    member.owner, command, command_id="", timeout_s=ASK_S
                )
                member.connection.handle(session.replay(page))
                return
            except Refused as refused:
                close = session.fail(close_code_of(refused.code), refused.code, refused.detail)
                member.connection.handle(close)
                return
            except DoorstepError as error:
                if time.monotonic() >= give_up_at:
                    close = session.fail(CloseCode.UNAVAILABLE, error.code, error.detail)
                    member.connection.handle(close)
                    return
                await asyncio.sleep(ASK_S / 8)

    @staticmethod
    def _inbox_command(member: Member, want: Register | Read) -> Any:
        if isinstance(want, Read):
            return member.module.ReadInbox(want.after)
        return member.module.RegisterDevice(
            want.device_id, member.session.connection_id, want.after, want.epoch,
            member.connected_at,
        )  # fmt: skip

    # Acknowledgements

    def _on_received(self, member: Member) -> None:
        unpassed = member.session.unpassed
        if unpassed >= ACK_EVERY:
            self._pass_ack(member)
        elif unpassed > 0:
            self._acks[member] = None

    def _pass_ack(self, member: Member) -> None:
        if member.acking:
            self._acks[member] = None
            return
        self._acks.pop(member, None)
        member.acking = True
        self._spawn(self._send_ack(member))

    async def _send_ack(self, member: Member) -> None:
        session = member.session
        offset = session.ack
        command = member.module.AcknowledgeInbox(session.device_id, session.connection_id, offset)
        try:
            await self._runtime.ask(
                member.owner,
                command,
                command_id="",  # Acknowledging twice is harmless.
                timeout_s=ASK_S,
            )
            session.passed_ack = max(session.passed_ack, offset)
        except Refused as refused:
            if refused.code == "stale-connection":
                _supersede(member)
            else:
                # Such as a device that was silent for too long: connecting again mends it.
                member.connection.handle(
                    session.fail(CloseCode.UNAVAILABLE, refused.code, refused.detail)
                )
        except DoorstepError:
            self._acks[member] = None
        finally:
            member.acking = False

    # Timer

    async def _tick_for_ever(self) -> None:
        flush_at = time.monotonic()
        while True:
            await asyncio.sleep(ACK_S / 4)
            now = time.monotonic()
            self.tick(now)
            if now >= flush_at:
                flush_at = now + ACK_S
                self.flush_acks()

    def tick(self, now: float) -> None:
        """Tell the connections whose time has come."""
        due = self._due
        while due and due[0][0] <= now:
            at, _, connection = heapq.heappop(due)
            if at != connection.due_at or connection.ended:
                continue
            connection.tick()
            if not connection.ended:
                self.watch(connection)

    def flush_acks(self) -> None:
        """Pass on what devices acknowledged since the last time."""
        acks, self._acks = self._acks, {}
        for member in acks:
            if member.session.unpassed > 0:
                self._pass_ack(member)

    # Helpers

    def _detach(self, member: Member) -> None:
        members = self._members.get(member.owner)
        device_id = member.session.device_id
        if members is None or members.get(device_id) is not member:
            return
        del members[device_id]
        if not members:
            del self._members[member.owner]
        for told in self.presence:
            told(member.owner, device_id, False)
        if member.session.unpassed > 0:
            # The device has stored these whether or not its socket lived to tell more.
            self._pass_ack(member)

    def _all(self) -> list[Member]:
        return [member for members in self._members.values() for member in members.values()]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with suppress(asyncio.CancelledError):
            if (error := task.exception()) is not None:
                _log.error("push.task_failed", exc_info=error)


def restarting(session: Session) -> Close:
    """The gateway goes away: come back elsewhere."""
    return session.fail(CloseCode.RESTARTING, "restarting", "Connect again and resume.")


def close_code_of(problem: str) -> CloseCode:
    """The close code for a refusal's code."""
    if problem == "token-expired":
        return CloseCode.TOKEN_EXPIRED
    if problem == "session-ended":
        return CloseCode.SESSION_ENDED
    if problem.startswith("token-"):
        return CloseCode.BAD_TOKEN
    if problem.startswith("unknown-"):
        return CloseCode.UNKNOWN
    if problem == "stale-connection":
        return CloseCode.SUPERSEDED
    return CloseCode.FORBIDDEN


def _supersede(member: Member) -> None:
    member.connection.handle(
        member.session.fail(
            CloseCode.SUPERSEDED, "superseded", "This device opened a newer connection."
        )
    )
