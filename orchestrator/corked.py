"""A transport that sends what is written in one turn of the loop with one call of the system.

An HTTP answer is written as head and body; each write would be a packet and a wake-up of the other
side. Sockets take the cork out (:meth:`Corked.uncorked`): they join their frames themselves, see
``orchestrator.push.direct``.
"""

import asyncio
from typing import Any

__all__ = ["Corked"]

FLUSH_BYTES = 65_536
"""So much is sent at once."""


class Corked:
    """Wraps an open transport; what it does not name is the transport's own."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size = 0
        self.is_closing = transport.is_closing
        """Asked after each request, so not through ``__getattr__``."""

    def write(self, data: bytes) -> None:
        """Send it with the rest of this turn."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size >= FLUSH_BYTES:
            self.flush()

    def write_alone(self, data: bytes) -> None:
        """Send what needs no company: at once, behind what was written before."""
        self.flush()
        self._transport.write(data)

    def writelines(self, parts: Any) -> None:
        """Send them with the rest of this turn."""
        for part in parts:
            self.write(part)

    def flush(self) -> None:
        """Send now what was written; if the connection has ended meanwhile, nobody gets it."""
        parts = self._parts
        if parts:
            self._parts, self._size = [], 0
            if self.is_closing():
                return
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def uncorked(self) -> asyncio.Transport:
        """The transport itself, from now on used without this; what was written is sent."""
        self.flush()
        return self._transport

    def get_write_buffer_size(self) -> int:
        """Bytes on their way out."""
        return self._size + self._transport.get_write_buffer_size()

    def write_eof(self) -> None:
        """Send what was written, then the end."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Send what was written, then close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
