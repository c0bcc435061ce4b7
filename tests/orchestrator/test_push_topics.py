"""Merge patches, the outbox's two kinds of frames, and topics for slow readers."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import order, rider
from domain.geo import Position
from domain.rider.state import evolve
from orchestrator.push.document import time_text, without_absent
from orchestrator.push.outbox import Outbox, WireFrame
from orchestrator.push.patch import apply_patch, patch_between
from orchestrator.push.protocol import TopicSession
from orchestrator.push.topics import OrderTopics, Topic
from tests.fakes.api_world import ORDER_VIEW
from tests.fakes.fake_runtime import FakeRuntime

SCALARS = st.booleans() | st.integers(-3, 3) | st.floats(0, 2) | st.text("ab", max_size=2)
KEYS = st.text("xyz", min_size=1, max_size=2)
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS | st.lists(SCALARS, max_size=2),
        lambda inner: st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(DOCUMENTS, DOCUMENTS)
def test_a_patch_turns_the_old_document_into_the_new(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    before = json.dumps(old)
    patch = json.loads(json.dumps(patch_between(old, new)))
    assert json.dumps(apply_patch(old, patch), sort_keys=True) == json.dumps(new, sort_keys=True)
    assert json.dumps(old) == before


@given(DOCUMENTS)
def test_equal_documents_have_an_empty_patch(document: dict[str, Any]) -> None:
    assert patch_between(document, json.loads(json.dumps(document))) == {}


def test_absent_values_are_left_out_at_any_depth() -> None:
    found = without_absent({"a": None, "b": [{"c": None, "d": 0}], "e": {"f": None}})
    assert found == {"b": [{"d": 0}], "e": {}}


def test_times_are_utc_to_the_millisecond() -> None:
    assert time_text(1_760_000_000.25) == "2025-10-09T08:53:20.250Z"


def taken(outbox: Outbox) -> list[str]:
    texts = []
    while (frame := outbox.take()) is not None:
        outbox.written(frame)
        texts.append(frame.text)
    return texts


def test_the_latest_value_replaces_one_that_was_not_sent_and_follows_what_must_not_drop() -> None:
    outbox = Outbox(1_000)
    outbox.put_latest("r-1", WireFrame("old"))
    outbox.put_latest("r-2", WireFrame("other"))
    outbox.put_latest("r-1", WireFrame("new"))
    assert outbox.put(WireFrame("event"))
    assert taken(outbox) == ["event", "other", "new"]
    assert outbox.empty


def test_the_outbox_is_bounded_in_bytes_that_are_not_yet_written() -> None:
    outbox = Outbox(100)
    assert outbox.put(WireFrame("x" * 60))
    assert not outbox.put(WireFrame("x" * 60))
    frame = outbox.take()
    assert frame is not None
    assert not outbox.put(WireFrame("x" * 60)), "it is still being written"
    outbox.written(frame)
    assert outbox.put(WireFrame("x" * 60))


def watcher(topic: Topic, queue_bytes_max: int = 100_000) -> TopicSession:
    session = TopicSession(Outbox(queue_bytes_max), heartbeat_s=10.0, now=0.0)
    session.receive('{"frame":"auth","token":"t"}', 0.0)
    session.authenticated(0.0, topic.epoch)
    topic.join(session)
    return session


def folded(session: TopicSession, document: Any = None, head: int = -1) -> tuple[Any, int]:
    for text in taken(session.outbox):
        frame = json.loads(text)
        match frame["frame"]:
            case "snapshot":
                document, head = frame["data"], frame["head"]
            case "delta":
                assert frame["head"] == head + 1
                document, head = apply_patch(document, frame["data"]), frame["head"]
    return document, head


def test_a_watcher_gets_the_document_and_then_only_changes() -> None:
    topic = Topic()
    topic.publish({"a": 1, "b": {"c": 1}})
    session = watcher(topic)
    topic.publish({"a": 1, "b": {"c": 2}})
    topic.publish({"a": 1, "b": {"c": 2}})
    frames = [json.loads(text) for text in taken(session.outbox)]
    assert [frame["frame"] for frame in frames] == ["hello", "snapshot", "delta"]
    assert frames[2]["data"] == {"b": {"c": 2}}


def test_a_reader_too_slow_for_patches_gets_a_snapshot_when_it_has_read() -> None:
    topic = Topic()
    topic.publish({"n": 0})
    session = watcher(topic, queue_bytes_max=600)
    for number in range(1, 50):
        topic.publish({"n": number})
    assert session.behind
    document, head = folded(session)
    assert document["n"] < 49
    topic.catch_up(session)
    assert folded(session, document, head) == ({"n": 49}, topic.head)
    topic.publish({"n": 50})
    assert folded(session, {"n": 49}, topic.head - 1)[0] == {"n": 50}


def test_who_left_hears_nothing_more() -> None:
    topic = Topic()
    session = watcher(topic)
    taken(session.outbox)
    topic.leave(session)
    topic.publish({"n": 1})
    topic.catch_up(session)
    assert taken(session.outbox) == []
    assert not topic.watched


def test_who_joins_later_is_told_the_latest_values_behind_the_document() -> None:
    topic = Topic()
    topic.publish({"n": 1})
    for lat in (52.0, 53.0):
        topic.publish_latest("rider:r-1", {"lat": lat})
    topic.publish_latest("rider:r-2", {"lat": 54.0})
    topic.retire_latest("rider:r-2")
    said = [json.loads(text) for text in taken(watcher(topic).outbox)]
    assert [frame["frame"] for frame in said] == ["hello", "snapshot", "latest"]
    assert (said[2]["key"], said[2]["data"]) == ("rider:r-1", {"lat": 53.0})


async def test_who_carries_a_parcel_no_more_is_not_shown_to_who_joins_then() -> None:
    runtime = FakeRuntime()
    topics = OrderTopics(runtime)
    shift = rider.ShiftStarted("north", "bike", Position(52.0, 5.0), 3, 50_000, None, 1e9)
    topics.apply("rider", "r-1", shift, 1e9)
    for state, shown in (("picked_up", True), ("delivered", False)):
        part = replace(ORDER_VIEW.fulfilments[0], state=state, rider_id="r-1")
        runtime.replies[order.Get] = replace(ORDER_VIEW, fulfilments=(part,))
        topics.apply("order", ORDER_VIEW.order_id, None, 1e9)
        topic = await topics.topic(ORDER_VIEW.order_id)
        await asyncio.gather(*topics._tasks)
        said = taken(watcher(topic).outbox)
        assert any('"latest"' in text for text in said) == shown


async def test_a_riders_place_has_one_shape_wherever_it_was_learnt() -> None:
    shift = rider.ShiftStarted("north", "bike", Position(52.0, 5.0), 3, 50_000, None, 1e9)
    on_the_way = replace(
        ORDER_VIEW, fulfilments=(replace(ORDER_VIEW.fulfilments[0], state="picked_up",
                                         rider_id="r-1"),),
    )  # fmt: skip

    async def pushed(learn: Callable[[OrderTopics], None]) -> list[Any]:
        runtime = FakeRuntime()
        runtime.replies[order.Get] = ORDER_VIEW
        topics = OrderTopics(runtime)
        learn(topics)
        session = watcher(await topics.topic(ORDER_VIEW.order_id))
        runtime.replies[order.Get] = on_the_way
        await asyncio.gather(*topics._tasks)
        return [json.loads(text) for text in taken(session.outbox) if '"latest"' in text]

    followed = await pushed(lambda topics: topics.apply("rider", "r-1", shift, 1e9))
    loaded = await pushed(lambda topics: topics.load("rider", "r-1", evolve(None, shift)))
    assert loaded == followed == [
        {
            "frame": "latest", "key": "rider:r-1",
            "data": {"rider_id": "r-1", "lat": 52.0, "lon": 5.0, "at": time_text(1e9)},
        }
    ]  # fmt: skip
    home = evolve(evolve(None, shift), rider.ShiftEnded(1e9))
    assert await pushed(lambda topics: topics.load("rider", "r-1", home)) == []


def carried_by(rider_id: str) -> order.OrderView:
    part = replace(ORDER_VIEW.fulfilments[0], state="picked_up", rider_id=rider_id)
    return replace(ORDER_VIEW, fulfilments=(part,))


async def test_a_rider_may_move_on_after_the_last_watcher_left_while_the_order_was_asked() -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slowly(to: str, command: Any) -> order.OrderView:
        asked.set()
        await may_answer.wait()
        return carried_by("r-1")

    runtime = FakeRuntime()
    runtime.replies[order.Get] = carried_by("r-1")
    topics = OrderTopics(runtime)
    topic = await topics.topic(ORDER_VIEW.order_id)
    session = watcher(topic)
    await asyncio.gather(*topics._tasks)
    runtime.replies[order.Get] = slowly
    topics.apply("order", ORDER_VIEW.order_id, None, 1e9)
    await asked.wait()
    topic.leave(session)
    topics.forget_unwatched(ORDER_VIEW.order_id)
    may_answer.set()
    await asyncio.gather(*topics._tasks)
    topics.apply("rider", "r-1", rider.Moved(Position(52.0, 5.0), 1e9), 1e9)
    assert not topics._carriers, "nobody watches an order of this rider"


async def test_after_the_tail_started_anew_only_who_still_carries_the_parcel_is_shown() -> None:
    runtime = FakeRuntime()
    runtime.replies[order.Get] = carried_by("r-1")
    topics = OrderTopics(runtime)
    topic = await topics.topic(ORDER_VIEW.order_id)
    session = watcher(topic)
    await asyncio.gather(*topics._tasks)
    topics.apply("rider", "r-1", rider.Moved(Position(52.0, 5.0), 1e9), 1e9)
    runtime.replies[order.Get] = carried_by("r-2")
    topics.reset()
    shift = rider.ShiftStarted("north", "bike", Position(53.0, 5.0), 3, 50_000, None, 1e9)
    topics.load("rider", "r-2", evolve(None, shift))
    topics.loaded()
    taken(session.outbox)
    await asyncio.gather(*topics._tasks)
    for frames in (taken(session.outbox), taken(watcher(topic).outbox)):
        keys = [frame["key"] for frame in map(json.loads, frames) if frame["frame"] == "latest"]
        assert keys == ["rider:r-2"]
    assert list(topics._carriers) == ["r-2"]
