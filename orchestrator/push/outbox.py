"""The bounded queue of one socket: frames that never drop, and values of which the latest counts.

Bounded in bytes, not frames, because memory is what a slow reader costs. A frame is encoded once
and shared by every socket it goes to; here it is only pointed at.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from orchestrator.push.frames import ClientFrame, ServerFrame, encode

__all__ = ["Outbox", "WireFrame", "text_header"]

FRAME_OVERHEAD_BYTES = 16
"""What a queued pointer and the WebSocket header cost beside the text."""


class WireFrame:
    """A frame ready to be sent, its bytes made once for all sockets."""

    __slots__ = ("size", "wire")

    def __init__(self, text: str) -> None:
        payload = text.encode()
        self.wire = text_header(len(payload)) + payload
        """A whole WebSocket frame as a server sends it."""
        self.size = len(payload) + FRAME_OVERHEAD_BYTES

    @classmethod
    def of(cls, frame: ServerFrame | ClientFrame) -> "WireFrame":
        """Encode ``frame``."""
        return cls(encode(frame))

    @property
    def text(self) -> str:
        """The JSON text."""
        length = self.size - FRAME_OVERHEAD_BYTES
        return self.wire[len(self.wire) - length :].decode()

    @property
    def message(self) -> dict[str, Any]:
        """The ASGI message."""
        return {"type": "websocket.send", "text": self.text}


def text_header(length: int) -> bytes:
    """The header of an unmasked, whole text message (RFC 6455, 5.2) of so many bytes."""
    if length < 126:
        return bytes((0x81, length))
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")


class Outbox:
    """What still has to be written to one socket. ``wake`` is called when it stops being empty."""

    __slots__ = ("_latest", "_queue", "bytes", "bytes_max", "wake")

    def __init__(self, bytes_max: int) -> None:
        self.bytes = 0
        """Bytes queued or being written."""
        self.bytes_max = bytes_max
        self.wake: Callable[[], None] = lambda: None
        self._queue: deque[WireFrame] = deque()
        self._latest: dict[str, WireFrame] = {}

    def put(self, frame: WireFrame) -> bool:
        """Queue a frame that must not be dropped; False (and not queued) at the bound."""
        size = self.bytes + frame.size
        if size > self.bytes_max:
            return False
        self.bytes = size
        self._queue.append(frame)
        self.wake()
        return True

    def put_paced(self, frame: WireFrame) -> None:
        """Queue whatever the bound says; for senders that wait for the queue to empty."""
        self.bytes += frame.size
        self._queue.append(frame)
        self.wake()

    def put_latest(self, key: str, frame: WireFrame) -> None:
        """Queue the newest value of ``key`` in place of one not yet sent. It goes out after what
        must not drop, and never causes an overflow."""
        self._latest.pop(key, None)
        self._latest[key] = frame
        self.wake()

    def take(self) -> WireFrame | None:
        """The next frame to write, or None. Call :meth:`written` after it was."""
        if self._queue:
            return self._queue.popleft()
        if self._latest:
            frame = self._latest.pop(next(iter(self._latest)))
            self.bytes += frame.size
            return frame
        return None

    def written(self, frame: WireFrame) -> None:
        """A taken frame left for the network."""
        self.bytes -= frame.size

    def take_wire(self, bytes_max: int) -> tuple[bytes, int]:
        """The bytes of the next frames, about ``bytes_max`` of them, and how many frames they are;
        they count as written."""
        frame = self.take()
        if frame is None:
            return b"", 0
        size, parts = frame.size, [frame.wire]
        while size < bytes_max and (frame := self.take()) is not None:
            size += frame.size
            parts.append(frame.wire)
        self.bytes -= size
        return (parts[0] if len(parts) == 1 else b"".join(parts)), len(parts)

    def clear(self) -> None:
        """Forget what is queued: the socket closes and the client will resume."""
        self.bytes -= sum(frame.size for frame in self._queue)
        self._queue.clear()
        self._latest.clear()

    @property
    def empty(self) -> bool:
        """Nothing queued and nothing being written."""
        return self.bytes == 0 and not self._latest
