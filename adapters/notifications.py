"""Notices to people who hold no socket: the effect handler of ``notify/<name>`` and the log.

:class:`NotificationLog` is the adapter that is always there: one JSON line per notice in a file of
the data folder. An SMS or e-mail adapter is another :class:`Notifier` under another name.
"""

import asyncio
import fcntl
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog
from msgspec import Struct

from actors.engine.ports import Clock, Effect
from domain.errors import Refused, Unavailable
from domain.message import Command
from domain.notice import Notify

__all__ = ["NotificationLog", "Notifier", "notify_effect"]

IDS_KEPT = 100_000
TAIL_BYTES = 32 * 1_048_576
"""How much of the file's end is read back to know what was logged: more than ``IDS_KEPT`` lines of
the usual length."""

log = structlog.get_logger("notifications")


class Notifier(Protocol):
    """One way to reach people."""

    async def notify(self, notice: Notify, notice_id: str) -> None:
        """Returns when the notice is safely handed over; once per ``notice_id`` however often it
        is asked (pass the id on as the gateway's idempotency key). Raises ``Unavailable`` to be
        asked again, ``Refused`` when this notice can never be delivered."""
        ...


def notify_effect(notifiers: Mapping[str, Notifier]) -> Effect:
    """The handler of sends to ``notify/<name>`` (see :data:`actors.engine.ports.Effect`).

    Refused with ``unknown-notifier`` for a name that is not configured: a notice is only of use
    while it is new, so it does not wait for a configuration.
    """

    async def handle(name: str, command: Command, effect_id: str) -> Any:
        if not isinstance(command, Notify):
            raise Refused("unknown-command", f"{type(command).__name__} is not a notice.")
        notifier = notifiers.get(name)
        if notifier is None:
            raise Refused("unknown-notifier", f"No notification adapter named {name!r}.")
        await notifier.notify(command, effect_id)

    return handle


class NotificationLog:
    """A :class:`Notifier` that appends JSON lines to ``path``, durably, each notice once.

    Notices that wait together are written together, with one ``fsync``. Several processes may
    share the file: under its lock each first reads what the others have added. A line torn by a
    crash was never acknowledged and is cut off. Ids of the newest :data:`IDS_KEPT` notices are
    known again after a restart. The file may be moved away at any time (log rotation).
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = _LogFile(path)
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="notification-log")
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def notify(self, notice: Notify, notice_id: str) -> None:
        """Log it. Raises ``Unavailable`` (``notification-log-away``) when the disk refuses."""
        waiting = _Waiting(
            _Line(notice_id, _rfc3339(self._clock.now()), notice.audience, notice.template,
                  notice.facts),
            asyncio.get_running_loop().create_future(),
        )  # fmt: skip
        self._waiting.append(waiting)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="notification-log")
        if await waiting.done:
            log.info(
                "notification.logged", notice_id=notice_id, audience=notice.audience,
                template=notice.template,
            )  # fmt: skip

    async def close(self) -> None:
        """Finish what is being written."""
        if self._writer is not None:
            await self._writer
        self._thread.shutdown()

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                new = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._file.append, [one.line for one in batch]
                )
            except Exception as problem:
                for one in batch:
                    one.fail(problem)
                continue
            for one, is_new in zip(batch, new, strict=True):
                one.succeed(is_new)


class _Line(Struct, frozen=True):
    """One notice as a line of the log."""

    id: str
    at: str
    audience: str
    template: str
    facts: dict[str, str]


class _IdOnly(Struct, frozen=True):
    id: str


@dataclass(slots=True)
class _Waiting:
    line: _Line
    done: asyncio.Future[bool]

    def succeed(self, is_new: bool) -> None:
        if not self.done.done():
            self.done.set_result(is_new)

    def fail(self, problem: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(
                Unavailable("notification-log-away", f"The log cannot be written: {problem}.")
            )


@dataclass(slots=True)
class _LogFile:
    """The file itself; blocking, used by one thread at a time."""

    path: Path
    _ids: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _read_to: int = 0
    _inode: int = -1

    def append(self, lines: Sequence[_Line]) -> list[bool]:
        """Write those not yet in the file; for each whether it was new. Raises ``OSError``."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._catch_up(handle)
            new: dict[str, _Line] = {}
            answers: list[bool] = []
            for line in lines:
                is_new = line.id not in self._ids and line.id not in new
                answers.append(is_new)
                if is_new:
                    new[line.id] = line
            _write_all(handle, b"".join(msgspec.json.encode(x) + b"\n" for x in new.values()))
            os.fsync(handle)
            self._catch_up(handle)
        finally:
            os.close(handle)
        return answers

    def _catch_up(self, handle: int) -> None:
        """Learn the ids of lines added since the last look; cut a torn last line off."""
        status = os.fstat(handle)
        if status.st_ino != self._inode or status.st_size < self._read_to:
            self._inode = status.st_ino
            self._read_to = max(0, status.st_size - TAIL_BYTES)
        if status.st_size == self._read_to:
            return
        added = _read_all(handle, self._read_to, status.st_size)
        whole = added.rfind(b"\n") + 1
        if whole < len(added):
            os.ftruncate(handle, self._read_to + whole)
        for raw in added[:whole].splitlines():
            self._learn(raw)
        self._read_to += whole

    def _learn(self, raw: bytes) -> None:
        try:
            notice_id = msgspec.json.decode(raw, type=_IdOnly).id
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError):
            return
        self._ids[notice_id] = None
        while len(self._ids) > IDS_KEPT:
            self._ids.popitem(last=False)


def _read_all(handle: int, start: int, end: int) -> bytes:
    chunks = bytearray()
    while start + len(chunks) < end:
        chunk = os.pread(handle, end - start - len(chunks), start + len(chunks))
        if not chunk:
            break
        chunks += chunk
    return bytes(chunks)


def _write_all(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
