"""A journal written by any release is read by this one (ARCHITECTURE, Engine rules 3)."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from actors.engine.codec import Codec, CodecError, encode
from actors.engine.kind import Kind
from actors.engine.ports import Entry, Record
from domain.message import Event
from orchestrator.bootstrap import KINDS
from tests.golden.examples import events_of, example

PAYLOADS = sorted((Path(__file__).parent / "payloads").glob("*.json"))
CODECS = {kind.name: Codec(kind) for kind in KINDS}


def stored() -> list[tuple[str, str, str, bytes]]:
    return [
        (file.stem, kind, tag, bytes.fromhex(payload))
        for file in PAYLOADS
        for kind, events in json.loads(file.read_text()).items()
        for tag, payload in events.items()
    ]


@pytest.mark.parametrize(
    ("version", "kind", "tag", "payload"),
    stored(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_event_of_a_released_version_is_read(
    version: str, kind: str, tag: str, payload: bytes
) -> None:
    record = encode([12.5, [["entity", [msgspec.Raw(payload)]]]])
    (entry,) = CODECS[kind].record(record).entries
    (event,) = entry.events
    if event.__struct_config__.tag == tag:
        raw, now = msgspec.msgpack.decode(payload), msgspec.msgpack.decode(encode(event))
        assert now[: len(raw)] == raw, "a released field changed its meaning or its place"
    else:
        assert tag in CODECS[kind].kind.upcasters


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_event_survives_the_journal(kind: Kind) -> None:
    codec = CODECS[kind.name]
    events = tuple(example(event) for event in events_of(kind))
    record = codec.record(encode(Record(1.5, (Entry("entity", events),))))
    assert record.entries[0].events == events


def test_every_event_of_this_release_has_a_golden_payload() -> None:
    newest: dict[str, Any] = json.loads(PAYLOADS[-1].read_text())
    missing = [
        event.__struct_config__.tag
        for kind in KINDS
        for event in events_of(kind)
        if event.__struct_config__.tag not in newest[kind.name]
    ]
    assert not missing, "run python -m tests.golden.write for the next release"


class Moved(Event, tag="walker.moved.v3"):
    """Today's shape: metres, and a direction."""

    metres: float
    direction: str


class Stood(Event, tag="walker.stood.v1"):
    pass


class Walker(Struct, array_like=True):
    metres: float = 0.0


WALKER = Kind(
    name="walker",
    state=Walker,
    commands=Stood,
    events=Moved | Stood,
    replies=None,
    decide=lambda state, command, context: None,  # type: ignore[arg-type,return-value]
    evolve=lambda state, event: state,
    upcasters={
        "walker.moved.v1": lambda raw: ["walker.moved.v2", raw[1] / 1000],
        "walker.moved.v2": lambda raw: ["walker.moved.v3", raw[1] * 1000, "forward"],
    },
)


def test_old_names_are_upcast_step_by_step_within_a_record_of_mixed_ages() -> None:
    record = encode(
        [
            2.5,
            [
                ["a", [["walker.moved.v1", 1500], ["walker.stood.v1"]], [], ["w/1"], "id", 7, b"r"],
                ["b", [["walker.moved.v3", 2.0, "back"]]],
            ],
        ]
    )
    read = Codec(WALKER).record(record)
    assert read.entries[0].events == (Moved(1500.0, "forward"), Stood())
    assert read.entries[1].events == (Moved(2.0, "back"),)
    assert (read.at, read.entries[0].command_id, read.entries[0].reply) == (2.5, "id", b"r")
    assert read.entries[0].settled == ("w/1",)


def test_a_name_this_release_does_not_know_says_what_to_do() -> None:
    with pytest.raises(CodecError, match="add an upcaster"):
        Codec(WALKER).record(encode([1.0, [["a", [["walker.flew.v1"]]]]]))


def test_a_reader_of_the_feed_skips_what_a_later_release_wrote() -> None:
    record = encode([1.0, [["a", [["walker.flew.v1", 7], ["walker.stood.v1"]]]]])
    read = Codec(WALKER).seen(record)
    assert read.entries[0].events == (["walker.flew.v1", 7], Stood())


def test_a_reader_of_the_feed_passes_over_what_only_the_owner_needs() -> None:
    record = encode([1.0, [["a", [["walker.stood.v1"]], [["o", "x/1", 7]], [], "id", 7, b"r"]]])
    read = Codec(WALKER).seen(record)
    assert (read.at, read.entries[0].entity, read.entries[0].events) == (1.0, "a", (Stood(),))
    assert not hasattr(read.entries[0], "reply")


def test_upcasters_that_run_in_a_circle_are_found() -> None:
    circle = {"walker.old.v1": lambda raw: raw}
    codec = Codec(
        Kind(
            name="walker", state=Walker, commands=Stood, events=Moved | Stood, replies=None,
            decide=WALKER.decide, evolve=WALKER.evolve, upcasters=circle,
        )
    )  # fmt: skip
    with pytest.raises(CodecError, match="circle"):
        codec.event(["walker.old.v1"])
