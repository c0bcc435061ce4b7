"""Every frame of the sockets, and every close code: the protocol as data.

Frames are JSON objects, one per WebSocket text message, told apart by their ``frame`` member.
``docs/protocol/socket.yaml`` is generated from these structs (``python -m
orchestrator.push.asyncapi``). This module imports nothing of ours: the client shares it.
"""

from datetime import UTC, datetime
from enum import IntEnum

import msgspec
from msgspec import Raw, Struct

__all__ = [
    "AUTH_S", "FRAME_BYTES_MAX", "Ack", "Auth", "CaughtUp", "ClientFrame", "ClientHeartbeat",
    "CloseCode", "Delta", "Event", "Heartbeat", "Hello", "Latest", "Problem", "ServerFrame",
    "Snapshot", "after_close", "decode_client", "decode_server", "encode", "wire_time",
]  # fmt: skip

AUTH_S = 5.0
"""Real seconds a new connection has to send ``auth``."""
FRAME_BYTES_MAX = 16_384
"""Longest frame a client may send, in UTF-8 bytes."""


class CloseCode(IntEnum):
    """Why the server closed, and by its range what the client does next.

    4000-4099 *resume*: connect again (with a jittered pause) and send the last stored offset.
    4100-4199 *re-authenticate*: get a new token first. 4200 and above *fatal*: do not reconnect by
    yourself; a person or a new release must change something. 1001, 1006, 1011, 1012, 1013: resume.
    """

    RESTARTING = 4000
    """The gateway shuts down."""
    OVERFLOW = 4001
    """The client read too slowly; its queue reached its bound. Nothing is lost."""
    SILENT = 4002
    """Nothing was heard from the client for two heartbeat intervals."""
    UNAVAILABLE = 4003
    """The inbox could not be reached in time (the journal is away)."""
    AUTH_TIMEOUT = 4100
    """No ``auth`` frame within its time."""
    BAD_TOKEN = 4101
    """The token is malformed, forged or not valid yet."""
    TOKEN_EXPIRED = 4102
    """The token ran out, at ``auth`` or during the session."""
    SESSION_ENDED = 4103
    """The device was unpaired: it has to be paired again."""
    FORBIDDEN = 4200
    """The token is good, but this resource is not its own."""
    MALFORMED = 4201
    """A frame that is not JSON, unknown, incomplete, binary or out of turn."""
    TOO_LARGE = 4202
    """A frame longer than ``FRAME_BYTES_MAX``."""
    SUPERSEDED = 4203
    """The same device opened a newer connection, which is the one that counts."""
    UNKNOWN = 4204
    """There is no such store, rider or order."""


def after_close(code: int) -> str:
    """What a client does after this close code: ``resume``, ``re-authenticate`` or ``fatal``."""
    if 4200 <= code <= 4999:
        return "fatal"
    if 4100 <= code < 4200:
        return "re-authenticate"
    return "resume"


class Hello(Struct, frozen=True, tag="hello", tag_field="frame", gc=False):
    """The first frame after a good ``auth``. ``epoch`` names this numbering of offsets."""

    heartbeat_ms: int
    epoch: str
    head: int


class Event(Struct, frozen=True, tag="event", tag_field="frame", gc=False):
    """One inbox message. ``offset`` is dense (+1); ``id`` is the same whenever it is seen again."""

    offset: int
    id: str
    type: str
    at: datetime
    data: Raw


class CaughtUp(Struct, frozen=True, tag="caught_up", tag_field="frame", gc=False):
    """All messages up to ``head`` were sent; what follows is live."""

    head: int


class Snapshot(Struct, frozen=True, tag="snapshot", tag_field="frame", gc=False):
    """The whole state, current to ``head``: it replaces what the client holds. The next event
    (or delta) is ``head + 1``."""

    head: int
    epoch: str
    data: Raw


class Delta(Struct, frozen=True, tag="delta", tag_field="frame", gc=False):
    """Topics: a JSON Merge Patch (RFC 7396) that turns state ``head - 1`` into state ``head``."""

    head: int
    data: Raw


class Latest(Struct, frozen=True, tag="latest", tag_field="frame", gc=False):
    """Topics: the newest value of ``key`` (a rider's position); older ones may never be sent."""

    key: str
    data: Raw


class Heartbeat(Struct, frozen=True, tag="heartbeat", tag_field="frame", gc=False):
    """The server lives, and ``head`` is the newest offset it sent. Answer with your own."""

    head: int


class Problem(Struct, frozen=True, tag="problem", tag_field="frame", gc=False):
    """What went wrong and what to do; a close follows when it is not recoverable."""

    code: str
    detail: str


class Auth(Struct, frozen=True, tag="auth", tag_field="frame", gc=False):
    """The client's first frame. ``acked`` is the last offset it has stored under ``epoch``; null
    asks for a snapshot. Topics need the token alone."""

    token: str
    device_id: str = ""
    epoch: str = ""
    acked: int | None = None


class Ack(Struct, frozen=True, tag="ack", tag_field="frame", gc=False):
    """*Received*: everything up to ``offset`` is stored on the device."""

    offset: int


class ClientHeartbeat(Struct, frozen=True, tag="heartbeat", tag_field="frame", gc=False):
    """The client lives. ``acked`` below the head of the server's last heartbeat asks for the gap
    again: send it after storing what came before that heartbeat."""

    acked: int | None = None


ServerFrame = Hello | Event | CaughtUp | Snapshot | Delta | Latest | Heartbeat | Problem
ClientFrame = Auth | Ack | ClientHeartbeat

_encoder = msgspec.json.Encoder()
_client_decoder = msgspec.json.Decoder(ClientFrame)
_server_decoder = msgspec.json.Decoder(ServerFrame)


def encode(frame: ServerFrame | ClientFrame) -> str:
    """The frame as the text of one WebSocket message."""
    return _encoder.encode(frame).decode()


def decode_client(text: str) -> ClientFrame:
    """A client's frame. Raises ``msgspec.MsgspecError`` when it is none."""
    frame: ClientFrame = _client_decoder.decode(text)
    return frame


def decode_server(text: str) -> ServerFrame:
    """A server's frame. Raises ``msgspec.MsgspecError`` when it is none."""
    frame: ServerFrame = _server_decoder.decode(text)
    return frame


def wire_time(at: float) -> datetime:
    """Epoch seconds as it goes on the wire (UTC, milliseconds)."""
    return datetime.fromtimestamp(round(at, 3), UTC)
