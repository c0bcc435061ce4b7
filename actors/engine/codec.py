"""Encoding of commands, replies, records and states; and reading what old releases wrote.

Everything is msgpack by msgspec. Stored names are tags; a journal written by an old release is
read through upcasters: functions from the raw array of one name to the raw array of the next,
chained until the name is a current one (``order.placed.v1`` -> ``.v2`` -> ``.v3``).
"""

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder

from actors.engine.kind import Kind
from actors.engine.ports import Entry, Owed, Record
from domain.errors import Problem, error_of
from domain.parts import Part

__all__ = ["NOTHING", "Codec", "CodecError", "Registry", "answer_of", "digest_of", "encode"]

_encoder = Encoder()
NOTHING = b"\xc0"
"""msgpack's nil."""
_PROBLEM = _encoder.encode(Problem("", ""))[:12]
"""How the bytes of any Problem begin: the array's size and the tag."""
_problem_decoder = Decoder(Problem)
UPCASTS_MAX = 64
"""More steps than this from an old name to a current one means the chain is a circle."""


def encode(value: Any) -> bytes:
    """Any message, reply or record as msgpack."""
    return _encoder.encode(value)


def answer_of(decode: Callable[[bytes], Any], reply: bytes | Problem) -> Any:
    """The reply struct; a problem is raised as the error it describes."""
    answer = reply if isinstance(reply, Problem) else decode(reply)
    if isinstance(answer, Problem):
        raise error_of(answer)
    return answer


def digest_of(command: Any, body: bytes) -> int:
    """A number by which the same key with another wish is told apart, from a command and its bytes
    without what was looked up for it. It finds mistakes; nobody is kept by it from fooling
    himself."""
    looked_up = command.LOOKED_UP
    if looked_up:
        names = [name for name in command.__struct_fields__ if name not in looked_up]
        tag = command.__struct_config__.tag
        body = encode((tag, [getattr(command, name) for name in names]))
    return len(body) << 32 | crc32(body)


class CodecError(Exception):
    """Stored bytes cannot be read by this release; the text names what is missing."""


class _RawEntry(Struct, array_like=True, gc=False):
    """An entry whose events are read one by one, for records that need upcasting."""

    entity: str
    events: list[Any] = []
    owed: tuple[Owed, ...] = ()
    settled: tuple[str, ...] = ()
    command_id: str = ""
    digest: int = 0
    reply: bytes = b""


class _RawRecord(Struct, array_like=True, gc=False):
    at: float
    entries: tuple[_RawEntry, ...]


class _RawSeenEntry(Struct, array_like=True, gc=False):
    """The same for a reader of the feed, who need not understand the rest of it."""

    entity: str
    events: list[Any] = []


class _RawSeen(Struct, array_like=True, gc=False):
    at: float
    entries: tuple[_RawSeenEntry, ...]


class Codec:
    """Encodes and decodes the messages of one kind."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._command = Decoder(kind.commands)
        self._reply: Decoder[Any] = Decoder(kind.replies)
        self._state: Decoder[Any] = Decoder(kind.state)
        division = kind.division
        self._parts: list[Decoder[Part]] = [
            Decoder(page) for page in (() if division is None else division.pages)
        ]
        self._record = Decoder(_record_type(kind.events, _OWNERS))
        self._seen = Decoder(_record_type(kind.events, ()))
        self._raw_record = Decoder(_RawRecord)
        self._raw_seen = Decoder(_RawSeen)

    def command(self, body: bytes) -> Any:
        """A command of this kind. Raises msgspec.ValidationError."""
        return self._command.decode(body)

    def as_command(self, value: Any) -> Any:
        """A command that may still be the builtins of a stored effect."""
        if isinstance(value, Struct):
            return value
        return msgspec.convert(value, self.kind.commands)

    def reply(self, body: bytes) -> Any:
        """A reply of this kind; None where a command has nothing to say; a Problem where it was
        refused and yet changed something (a wrong pick-up code is counted)."""
        if body == NOTHING:
            return None
        if body.startswith(_PROBLEM):
            return _problem_decoder.decode(body)
        return self._reply.decode(body)

    def state(self, data: bytes | msgspec.Raw) -> Any:
        """An entity's state."""
        return self._state.decode(data)

    def pages(self, state: Any) -> Sequence[Sequence[Part]]:
        """The parts of a state by collection (see :class:`Division`)."""
        division = self.kind.division
        if division is None or state is None:
            return ()
        return [one.pages for one in division.collections(state)]

    def rest(self, state: Any) -> bytes:
        """The state without its parts."""
        division = self.kind.division
        if division is None or state is None:
            return encode(state)
        collections = division.collections(state)
        pages = [one.pages for one in collections]
        try:
            for one in collections:
                one.pages = []
            return encode(state)
        finally:
            for one, parts in zip(collections, pages, strict=True):
                one.pages = parts

    def part(self, collection: int, data: bytes) -> Part:
        """A part of one of the state's collections."""
        return self._parts[collection].decode(data)

    def join(self, state: Any, pages: Sequence[list[Part]]) -> None:
        """Give a state its parts back, by collection."""
        division = self.kind.division
        if division is not None:
            for one, parts in zip(division.collections(state), pages, strict=True):
                one.pages = parts
            division.rejoin(state)

    def record(self, payload: bytes) -> Record:
        """A stored record, for the shard's owner; old event names are upcast. Raises CodecError."""
        try:
            return self._record.decode(payload)  # type: ignore[no-any-return]
        except msgspec.ValidationError:
            return self._upcast_record(payload)

    def seen(self, payload: bytes) -> Record:
        """A stored record, for a reader of the feed: its entries have ``entity`` and ``events``
        alone, the rest of the bytes is passed over. Events this release does not know stay raw
        arrays: a reader skips them, where an owner must not."""
        try:
            return self._seen.decode(payload)  # type: ignore[no-any-return]
        except msgspec.ValidationError:
            raw: _RawSeen = self._raw_seen.decode(payload)
            read = self._lenient_event
            return Record(
                raw.at,
                tuple(
                    Entry(entry.entity, tuple(read(event) for event in entry.events))
                    for entry in raw.entries
                ),
            )

    def event(self, raw: Any) -> Any:
        """One event from its raw array, upcast to a current name. Raises CodecError."""
        for _ in range(UPCASTS_MAX):
            upcaster = self.kind.upcasters.get(raw[0])
            if upcaster is None:
                break
            raw = upcaster(raw)
        else:
            raise CodecError(f"{self.kind.name}: upcasters of {raw[0]!r} run in a circle.")
        try:
            return msgspec.convert(raw, self.kind.events)
        except msgspec.ValidationError as error:
            raise CodecError(
                f"{self.kind.name}: stored event {raw[0]!r} is unknown to this release ({error}). "
                "Run the release that wrote it, or add an upcaster."
            ) from error

    def _lenient_event(self, raw: Any) -> Any:
        try:
            return self.event(raw)
        except CodecError:
            return raw

    def _upcast_record(self, payload: bytes) -> Record:
        raw: _RawRecord = self._raw_record.decode(payload)
        return Record(
            raw.at,
            tuple(
                Entry(
                    entry.entity,
                    tuple(self.event(event) for event in entry.events),
                    entry.owed,
                    entry.settled,
                    entry.command_id,
                    entry.digest,
                    entry.reply,
                )
                for entry in raw.entries
            ),
        )


_OWNERS: tuple[tuple[str, Any, Any], ...] = (
    ("owed", tuple[Owed, ...], ()),
    ("settled", tuple[str, ...], ()),
    ("command_id", str, ""),
    ("digest", int, 0),
    ("reply", bytes, b""),
)
"""The fields of an entry, behind its events, that only the shard's owner reads."""


def _record_type(events: Any, more: tuple[tuple[str, Any, Any], ...]) -> Any:
    """A Record whose entries hold exactly this kind's events: decoding is one typed pass."""
    entry = msgspec.defstruct(
        "Entry",
        [("entity", str), ("events", tuple[events, ...], ()), *more],
        bases=(),
        array_like=True,
        frozen=True,
        gc=False,
    )
    return msgspec.defstruct(
        "Record",
        [("at", float), ("entries", tuple[entry, ...])],  # type: ignore[valid-type]
        array_like=True,
        frozen=True,
        gc=False,
    )


class Registry:
    """All kinds of a process by name, and the commands of effects to the outside."""

    def __init__(
        self, kinds: Sequence[Kind], effect_commands: Any = None, effect_answers: Any = None
    ) -> None:
        self.codecs = {kind.name: Codec(kind) for kind in kinds}
        self._effect_commands = effect_commands
        self._effect_answer: Decoder[Any] = Decoder(effect_answers)

    def as_command(self, to: str, value: Any) -> Any:
        """The typed command for a receiver such as ``order/x`` or ``provider/sandbox``."""
        if isinstance(value, Struct):
            return value
        kind, _, _ = to.partition("/")
        codec = self.codecs.get(kind)
        if codec is not None:
            return codec.as_command(value)
        return msgspec.convert(value, self._effect_commands)

    def reply(self, to: str, body: bytes) -> Any:
        """The typed reply of a receiver; an effect's answer is of the effect commands' union."""
        kind, _, _ = to.partition("/")
        codec = self.codecs.get(kind)
        if codec is not None:
            return codec.reply(body)
        return None if body == NOTHING else self._effect_answer.decode(body)
