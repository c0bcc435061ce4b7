"""Inbox sockets of one gateway: who is connected, and the fan-out of committed messages.

Each message is encoded once, and only if one of its owner's devices is connected here. No task is
made per message; a session that has to look into its inbox makes one for that.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from actors.engine.ports import Clock, Runtime
from domain import rider, store
from domain.errors import DoorstepError, Refused
from domain.inbox import InboxMessage, InboxPage
from orchestrator.push.acknowledgements import ACK_S, ASK_S, Acknowledgements
from orchestrator.push.closing import refused, restarting, unavailable
from orchestrator.push.connection import Connection, Receive, Send
from orchestrator.push.direct import Writers
from orchestrator.push.member import Member
from orchestrator.push.outbox import Outbox
from orchestrator.push.protocol import Authenticate, InboxSession, Read, Register, event_frame
from orchestrator.push.tasks import Tasks
from orchestrator.push.timer import ConnectionTimer

__all__ = ["Hub", "Presence", "Verify"]

RESUME_S = 15.0
"""Real seconds an inbox may be out of reach before the socket is closed (to resume)."""
LAGS_KEPT = 1024

Presence = Callable[[str, str, bool], None]
"""Told of (owner such as ``store/s-1``, device id, connected)."""
Verify = Callable[[str], float]
"""Returns for how many real seconds the token is good; raises ``Refused``."""


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
        self._tasks = Tasks()
        self._acknowledgements = Acknowledgements(runtime, self._tasks.spawn)
        self._timer = ConnectionTimer(self._acknowledgements.flush, ACK_S)
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
            on_received=lambda: self._acknowledgements.received(member),
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
        self._timer.watch(connection)

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
        for connection in self._timer.connections():
            try:
                connection.check()
            except Refused as refusal:
                connection.handle(refused(connection.session, refusal))

    async def close(self) -> None:
        """Close every socket with a resumable code and wait for the frames to leave."""
        self._closing = True
        for connection in self._timer.connections():
            connection.handle(restarting(connection.session))
        await asyncio.gather(self._timer.close(), self._tasks.close())

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
            member.supersede()

    # What sessions want

    def _on_want(
        self, member: Member, verify: Verify, want: Authenticate | Register | Read
    ) -> None:
        match want:
            case Authenticate(token):
                self._authenticate(member, verify, token)
            case Register() | Read():
                self._tasks.spawn(self._ask_inbox(member, want))

    def _authenticate(self, member: Member, verify: Verify, token: str) -> None:
        session = member.session
        try:
            expires_in_s = verify(token)
        except Refused as refusal:
            member.connection.handle(refused(session, refusal))
            return
        member.connection.check = lambda: verify(token)
        members = self._members.setdefault(member.owner, {})
        older = members.get(session.device_id)
        members[session.device_id] = member
        if older is not None:
            older.supersede()
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
            except Refused as refusal:
                member.connection.handle(refused(session, refusal))
                return
            except DoorstepError as error:
                if time.monotonic() >= give_up_at:
                    member.connection.handle(unavailable(session, error))
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
        self._acknowledgements.left(member)

    def _all(self) -> list[Member]:
        return [member for members in self._members.values() for member in members.values()]
