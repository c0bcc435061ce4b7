"""The AsyncAPI document: up to date, consistent in itself, and true of real frames."""

import json
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from domain import inbox, rider, store
from domain.geo import Position
from domain.rider import messages as rider_messages
from domain.rider.state import born as rider_born
from domain.store import messages as store_messages
from domain.store.state import born as store_born
from orchestrator.push import asyncapi, frames
from orchestrator.push.protocol import event_frame

T = 1_760_000_000.0


def validate(name: str, instance: Any) -> None:
    document = asyncapi.document()
    schema = {**document, "$ref": f"#/components/schemas/{name}"}
    jsonschema.validate(instance, schema)


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for member in node.values() for found in references(member)]
    if isinstance(node, list):
        return [found for member in node for found in references(member)]
    return []


def test_the_file_is_what_the_structs_say() -> None:
    assert asyncapi.main(["--check"]) == 0


def test_every_reference_leads_somewhere() -> None:
    document = yaml.safe_load(asyncapi.rendered())
    for reference in references(document):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in node, reference
            node = node[step]


def test_every_message_of_the_kinds_is_described() -> None:
    text = asyncapi.rendered()
    for kind in (*store_messages.MESSAGES, *rider_messages.MESSAGES):
        assert f"const: {kind}" in text


@pytest.mark.parametrize(
    "frame",
    [
        frames.Hello(10_000, "e", 4),
        frames.CaughtUp(4),
        frames.Snapshot(4, "e", msgspec.Raw(b"{}")),
        frames.Delta(5, msgspec.Raw(b'{"a":null}')),
        frames.Latest("rider:r", msgspec.Raw(b"{}")),
        frames.Heartbeat(4),
        frames.Problem("busy", "Later."),
        frames.Auth("t", "d", "e", 4),
        frames.Ack(4),
        frames.ClientHeartbeat(None),
    ],
)
def test_frames_fit_their_schemas(frame: Any) -> None:
    validate(type(frame).__name__, json.loads(frames.encode(frame)))


def test_a_stores_event_and_snapshot_fit_their_schemas() -> None:
    ticket = store.OpenTicket(
        "o1-1", "o1", (store.TicketLine("o1/1", "tea", "Tea", 2),), "delivery", "EUR", 0,
        T + 300, T + 2400,
    )  # fmt: skip
    state = store_born(T)
    (noted,) = store_messages.noted(state, "s-1", [store.TicketOpened(ticket, T)], T)
    assert isinstance(noted, store.Noted)
    event = json.loads(event_frame(noted.messages[0]).text)
    validate("store.EventFrame", event)
    with pytest.raises(jsonschema.ValidationError):
        validate("store.EventFrame", {**event, "type": "ticket.eaten"})
    raw = msgspec.Raw(store_messages.snapshot(state, "s-1"))
    validate("store.SnapshotFrame", json.loads(frames.encode(frames.Snapshot(1, "e", raw))))


def test_a_riders_event_and_snapshot_fit_their_schemas() -> None:
    state = rider_born(T)
    started = rider.ShiftStarted("north", "bike", Position(52.0, 5.0), 3, 50_000, None, T)
    (noted,) = rider_messages.noted(state, "r-1", [started], T)
    assert isinstance(noted, rider.Noted)
    for message in noted.messages:
        validate("rider.EventFrame", json.loads(event_frame(message).text))
    raw = msgspec.Raw(rider_messages.snapshot(state, "r-1"))
    validate("rider.SnapshotFrame", json.loads(frames.encode(frames.Snapshot(1, "e", raw))))


def test_message_ids_are_unique_over_offsets() -> None:
    box = inbox.Inbox("e")
    first, second = inbox.compose(box, "store/s-1", [("a", b"{}"), ("b", b"{}")], T)
    assert first.id != second.id
