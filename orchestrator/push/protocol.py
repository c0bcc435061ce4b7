"""The socket protocol of one connection, without sockets, clocks or actors (sans-I/O).

A session is told what happened (a frame came, the inbox answered, a message was committed, time
passed), puts frames into its outbox, and returns as a *want* what it needs from the outside.
``orchestrator.push.connection`` does the I/O.

The promise of :class:`InboxSession`: event frames leave in dense offset order after ``acked`` (or
after a snapshot's head), none missing and none twice, except what a client's heartbeat asked for
again. Live messages that arrive during a replay wait; should they be too many, or should one be
missing, the inbox itself is read again. The inbox is the authority, the feed its fast path.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

import msgspec
from msgspec import Raw

from domain.bounds import OFFSET_MAX
from domain.inbox import InboxMessage, InboxPage
from orchestrator.push.frames import (
    AUTH_S,
    FRAME_BYTES_MAX,
    Ack,
    Auth,
    CaughtUp,
    ClientHeartbeat,
    CloseCode,
    Event,
    Heartbeat,
    Hello,
    Problem,
    Snapshot,
    decode_client,
    wire_time,
)
from orchestrator.push.outbox import Outbox, WireFrame

__all__ = [
    "ACK_EVERY", "Authenticate", "Close", "InboxSession", "Phase", "Read", "Register", "Session",
    "TopicSession", "Want", "event_frame",
]  # fmt: skip

ACK_EVERY = 50
"""So many acknowledged messages are passed on at once, without waiting for the timer."""


class Phase(Enum):
    """A connection's life. A live inbox session that doubts its feed replays again."""

    AWAITING_AUTH = auto()
    AUTHENTICATING = auto()
    REPLAYING = auto()
    LIVE = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Verify ``token``, then call ``authenticated`` or ``fail``."""

    token: str


@dataclass(frozen=True, slots=True)
class Register:
    """Send ``RegisterDevice``, then call :meth:`InboxSession.replay` with its page."""

    device_id: str
    after: int | None
    epoch: str


@dataclass(frozen=True, slots=True)
class Read:
    """Send ``ReadInbox``, then call :meth:`InboxSession.replay` with its page."""

    after: int


@dataclass(frozen=True, slots=True)
class Close:
    """Write what is in the outbox, then close with this code."""

    code: CloseCode
    reason: str


Want = Authenticate | Register | Read | Close


def event_frame(message: InboxMessage) -> WireFrame:
    """The frame of an inbox message, to be shared by every socket it goes to."""
    return WireFrame.of(
        Event(message.offset, message.id, message.type, wire_time(message.at), Raw(message.data))
    )


class Session:
    """What every socket does: authenticate in time, heartbeat both ways, refuse bad frames.

    Times are real seconds of one monotonic clock.
    """

    __slots__ = (
        "_beat_at", "_expires_at", "_heard_at", "heartbeat_s", "outbox", "phase", "sent",
    )  # fmt: skip

    def __init__(self, outbox: Outbox, *, heartbeat_s: float, now: float) -> None:
        self.outbox = outbox
        self.heartbeat_s = heartbeat_s
        self.phase = Phase.AWAITING_AUTH
        self.sent = 0
        """The head of what was put into the outbox."""
        self._heard_at = now
        self._beat_at = now
        self._expires_at = float("inf")

    def receive(self, text: str | None, now: float) -> Want | None:
        """A message came from the client; None stands for a binary one."""
        if self.phase is Phase.CLOSED:
            return None
        if text is None:
            return self.fail(CloseCode.MALFORMED, "malformed", "Send text, not binary messages.")
        if len(text) > FRAME_BYTES_MAX or len(text.encode()) > FRAME_BYTES_MAX:
            return self.fail(
                CloseCode.TOO_LARGE, "too-large", f"Send at most {FRAME_BYTES_MAX} bytes a frame."
            )
        try:
            frame = decode_client(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            return self.fail(CloseCode.MALFORMED, "malformed", f"Not a frame: {error}.")
        if (self.phase is Phase.AWAITING_AUTH) != isinstance(frame, Auth):
            return self.fail(CloseCode.MALFORMED, "out-of-turn", "Send `auth` once, and first.")
        self._heard_at = now
        match frame:
            case Auth():
                return self._on_auth(frame)
            case Ack(offset):
                return self._on_ack(offset)
            case ClientHeartbeat(acked):
                return self._on_heartbeat(acked)

    def tick(self, now: float) -> Want | None:
        """Time passed; call at :attr:`next_at` or later."""
        if self.phase is Phase.CLOSED:
            return None
        if self.phase is Phase.AWAITING_AUTH:
            if now >= self._heard_at + AUTH_S:
                return self.fail(
                    CloseCode.AUTH_TIMEOUT, "auth-timeout", f"Send `auth` within {AUTH_S:g} s."
                )
            return None
        if now >= self._expires_at:
            return self.fail(
                CloseCode.TOKEN_EXPIRED, "token-expired", "Get a new token, connect and resume."
            )
        if now >= self._heard_at + 2 * self.heartbeat_s:
            return self.fail(
                CloseCode.SILENT, "silent", "Send a heartbeat each interval; connect and resume."
            )
        if now >= self._beat_at + self.heartbeat_s and self.phase is not Phase.AUTHENTICATING:
            self._beat_at = now
            return self._beat()
        return None

    @property
    def next_at(self) -> float:
        """When :meth:`tick` has something to do, if nothing happens before."""
        if self.phase is Phase.AWAITING_AUTH:
            return self._heard_at + AUTH_S
        return min(
            self._expires_at,
            self._heard_at + 2 * self.heartbeat_s,
            self._beat_at + self.heartbeat_s,
        )

    def fail(self, code: CloseCode, problem: str, detail: str) -> Close:
        """End the conversation: the last frame says why, the close code what to do. Of several
        endings the first is sent."""
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self.outbox.put_paced(WireFrame.of(Problem(problem, detail)))
        return Close(code, problem)

    def end(self) -> None:
        """The socket is gone."""
        self.phase = Phase.CLOSED
        self.outbox.clear()

    def _overflow(self) -> Close:
        self.outbox.clear()
        return self.fail(
            CloseCode.OVERFLOW, "too-slow", "Read faster; connect and resume, nothing is lost."
        )

    def _hello(self, epoch: str, head: int) -> None:
        self.outbox.put_paced(WireFrame.of(Hello(round(self.heartbeat_s * 1000), epoch, head)))

    def _authenticated(self, now: float, expires_in_s: float) -> None:
        self._expires_at = now + expires_in_s
        self._heard_at = self._beat_at = now

    def _beat(self) -> Want | None:
        if not self.outbox.put(WireFrame.of(Heartbeat(self.sent))):
            return self._overflow()
        return None

    def _on_auth(self, frame: Auth) -> Want | None:
        self.phase = Phase.AUTHENTICATING
        return Authenticate(frame.token)

    def _on_ack(self, offset: int) -> Want | None:
        if 0 <= offset <= self._ever_sent():
            return None
        return self.fail(CloseCode.MALFORMED, "never-sent", f"Offset {offset} was not sent to you.")

    def _on_heartbeat(self, acked: int | None) -> Want | None:
        return None

    def _ever_sent(self) -> int:
        return self.sent


class InboxSession(Session):
    """One device's connection to one inbox."""

    __slots__ = (
        "_ahead", "_ahead_bytes", "_doubted", "_paused", "_reached", "_resume", "_told", "ack",
        "connection_id", "device_id", "epoch", "head", "passed_ack",
    )  # fmt: skip

    def __init__(
        self, connection_id: str, outbox: Outbox, *, heartbeat_s: float, now: float
    ) -> None:
        super().__init__(outbox, heartbeat_s=heartbeat_s, now=now)
        self.connection_id = connection_id
        self.device_id = ""
        self.epoch: str | None = None
        """The inbox's epoch once it answered."""
        self.head = 0
        """The newest offset known to exist."""
        self.ack = -1
        """What the device has stored, by its own word."""
        self.passed_ack = -1
        """What of that the inbox was told."""
        self._resume = Register("", None, "")
        self._told = 0
        self._reached = 0
        """What was sent before a replay went back behind it."""
        self._paused = False
        self._doubted = False
        self._ahead: deque[tuple[int, WireFrame]] = deque()
        self._ahead_bytes = 0

    def authenticated(self, now: float, expires_in_s: float = float("inf")) -> Register:
        """The token is good and owns this inbox. Live messages may be delivered from now on."""
        self._authenticated(now, expires_in_s)
        return self._resume

    def replay(self, page: InboxPage) -> Want | None:
        """The inbox answered :class:`Register` or :class:`Read`."""
        if self.phase is Phase.CLOSED:
            return None
        if self.epoch is None:
            self.sent = self.ack = self.passed_ack = self._resume.after or 0
            self.phase = Phase.REPLAYING
            self.epoch = page.epoch
            self._hello(page.epoch, page.head)
        before = self.sent
        self.head = max(self.head, page.head)
        if page.snapshot is not None:
            self._put_snapshot(page)
        for message in page.messages:
            if message.offset == self.sent + 1:
                self.outbox.put_paced(event_frame(message))
                self.sent = message.offset
        # Of messages that the device stored while they were read again, nothing is left to send.
        stored = bool(page.messages) and page.messages[-1].offset <= before
        followed = self.sent != before or page.head == before or page.snapshot is not None
        if not (followed or stored) or page.epoch != self.epoch:
            # The inbox no longer has what follows, or never had what the client says it has.
            self.epoch = page.epoch
            return Register(self.device_id, None, "")
        return self._go_on()

    def deliver(self, offset: int, frame: WireFrame) -> Want | None:
        """A message was committed; ``frame`` is shared with the inbox's other sockets."""
        if self.phase is Phase.LIVE:
            if offset == self.sent + 1:
                if not self.outbox.put(frame):
                    return self._overflow()
                self.sent = self.head = offset
                return None
            if offset <= self.sent:
                return None
            self._wait(offset, frame)
            return self._replay_after(self.sent)
        if self.phase in (Phase.AUTHENTICATING, Phase.REPLAYING):
            self._wait(offset, frame)
        return None

    def doubt(self) -> Want | None:
        """The feed skipped something: look into the inbox whether it was for this device."""
        if self.phase is Phase.LIVE:
            return self._replay_after(self.sent)
        self._doubted = True
        return None

    def drained(self) -> Want | None:
        """The outbox is empty: a replay that waited for it goes on."""
        if self._paused and self.phase is Phase.REPLAYING and self.outbox.empty:
            self._paused = False
            return Read(self.sent)
        return None

    @property
    def unpassed(self) -> int:
        """Messages acknowledged by the device of which the inbox was not told yet."""
        return self.ack - self.passed_ack

    def _on_auth(self, frame: Auth) -> Want | None:
        if not 1 <= len(frame.device_id) <= 128:
            return self.fail(
                CloseCode.MALFORMED, "malformed", "Send a `device_id` of 1 to 128 characters."
            )
        if frame.acked is not None and not 0 <= frame.acked <= OFFSET_MAX:
            return self.fail(
                CloseCode.MALFORMED, "malformed", "Send an `acked` that you were sent, or 0."
            )
        self.device_id = frame.device_id
        self._resume = Register(frame.device_id, frame.acked, frame.epoch)
        return super()._on_auth(frame)

    def _on_ack(self, offset: int) -> Want | None:
        refusal = super()._on_ack(offset)
        if refusal is None:
            self.ack = max(self.ack, offset)
            # What was on its way when the device asked for it again has come: a replay is shorter.
            self.sent = max(self.sent, offset)
        return refusal

    def _on_heartbeat(self, acked: int | None) -> Want | None:
        if acked is None or self.epoch is None:
            return None
        refusal = self._on_ack(acked)
        if refusal is not None:
            return refusal
        if self.phase is Phase.LIVE and acked < self._told and self.outbox.empty:
            # All was written and its head announced, yet the client does not have it.
            return self._replay_after(acked)
        return None

    def _beat(self) -> Want | None:
        if self.phase is Phase.LIVE:
            self._told = self.sent
        return super()._beat()

    def _put_snapshot(self, page: InboxPage) -> None:
        frame = Snapshot(page.head, page.epoch, Raw(page.snapshot))
        self.outbox.put_paced(WireFrame.of(frame))
        self.epoch = page.epoch
        self.sent = self.head = page.head
        self._reached = 0
        # What the device had stored before does not count any more.
        self.ack = self.passed_ack = min(self.ack, page.head)

    def _wait(self, offset: int, frame: WireFrame) -> None:
        self.head = max(self.head, offset)
        if self._ahead and offset <= self._ahead[-1][0]:
            return
        out_of_line = self._ahead and offset != self._ahead[-1][0] + 1
        if out_of_line or self._ahead_bytes + frame.size > self.outbox.bytes_max // 2:
            # ``head`` remembers that there is more; it will be read from the inbox.
            self._ahead.clear()
            self._ahead_bytes = 0
            if not out_of_line:
                return
        self._ahead.append((offset, frame))
        self._ahead_bytes += frame.size

    def _replay_after(self, offset: int) -> Read:
        self.phase = Phase.REPLAYING
        self._reached = self._ever_sent()
        self.sent = offset
        return Read(offset)

    def _ever_sent(self) -> int:
        return max(self.sent, self._reached)

    def _go_on(self) -> Want | None:
        while self._ahead and self._ahead[0][0] <= self.sent + 1:
            offset, frame = self._ahead.popleft()
            self._ahead_bytes -= frame.size
            if offset == self.sent + 1:
                self.outbox.put_paced(frame)
                self.sent = offset
        if self.sent < self.head or self._doubted:
            self._doubted = False
            if self.outbox.bytes > self.outbox.bytes_max // 2:
                self._paused = True
                return None
            return Read(self.sent)
        self.phase = Phase.LIVE
        self._told = self.sent
        self.outbox.put_paced(WireFrame.of(CaughtUp(self.sent)))
        return None


class TopicSession(Session):
    """One connection to a topic: a document, sent as a snapshot and then as merge patches.

    A client that reads too slowly is not closed: patches it has no room for are left out, and a
    fresh snapshot follows when its queue is empty.
    """

    __slots__ = ("_epoch", "behind")

    def __init__(self, outbox: Outbox, *, heartbeat_s: float, now: float) -> None:
        super().__init__(outbox, heartbeat_s=heartbeat_s, now=now)
        self._epoch = ""
        self.behind = False
        """A patch was left out; a snapshot is due once the outbox is empty."""

    def authenticated(self, now: float, epoch: str, expires_in_s: float = float("inf")) -> None:
        """The token may read this topic; :meth:`start` follows."""
        self._authenticated(now, expires_in_s)
        self._epoch = epoch

    def start(self, head: int, document: bytes) -> None:
        """The document as it is now, at its ``head``."""
        if self.phase is Phase.CLOSED:
            return
        if self.phase is Phase.AUTHENTICATING:
            self._hello(self._epoch, head)
            self.phase = Phase.LIVE
        self.behind = False
        self.sent = head
        self.outbox.put_paced(WireFrame.of(Snapshot(head, self._epoch, Raw(document))))

    def deliver(self, head: int, patch: WireFrame) -> None:
        """The document changed from ``head - 1`` to ``head``."""
        if self.phase is not Phase.LIVE or self.behind or head <= self.sent:
            return
        if head != self.sent + 1 or not self.outbox.put(patch):
            self.behind = True
            return
        self.sent = head

    def deliver_latest(self, key: str, frame: WireFrame) -> None:
        """The newest value of ``key``; replaces one that was not sent yet."""
        if self.phase is Phase.LIVE:
            self.outbox.put_latest(key, frame)
