"""Whatever the network, the feed and the inbox's answers do: the device ends with everything."""

import json
from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.ports import Shard
from domain import store
from domain.errors import Refused
from orchestrator.push.outbox import Outbox
from orchestrator.push.protocol import (
    Authenticate,
    Close,
    InboxSession,
    Phase,
    Read,
    Register,
    Want,
    event_frame,
)
from tests.fakes.fake_push import FakeRuntime

OWNER = "store/s-1"
SHARD = Shard("store", 0)

ACTIONS = (
    "note", "note", "note_many", "feed", "feed", "feed_twice", "feed_skips", "answer", "answer",
    "network", "network", "network", "device_stores", "ack", "heartbeat", "beat", "disconnect",
    "connect", "connect",
)  # fmt: skip


class Device:
    """Folds messages as the protocol's documentation tells a client to."""

    def __init__(self) -> None:
        self.epoch = ""
        self.folded: list[str] = []
        self.received: int | None = None

    def take(self, frame: dict[str, Any]) -> None:
        match frame["frame"]:
            case "hello":
                self.epoch = frame["epoch"]
            case "snapshot":
                self.received = frame["head"]
                self.folded = [str(number) for number in range(1, frame["data"]["open"] + 1)]
            case "event":
                assert self.received is not None
                if frame["offset"] <= self.received:
                    return
                assert frame["offset"] == self.received + 1, "a message was left out"
                self.received = frame["offset"]
                self.folded.append(frame["data"]["text"])
            case "caught_up" | "heartbeat":
                assert frame["head"] == self.received, "the server said it had sent more"


class Simulation:
    """One device, its present connection, and a gateway whose feed lags."""

    def __init__(self, *, queue_bytes_max: int, page_limit: int) -> None:
        self.runtime = FakeRuntime()
        self.runtime.page_limit = page_limit
        self.queue_bytes_max = queue_bytes_max
        self.device = Device()
        self.session: InboxSession | None = None
        self.wants: deque[Want] = deque()
        self.wire: deque[str] = deque()
        self.fed = 0
        self.now = 0.0
        self.connections = 0
        self.noted = 0
        self.asked_again = False
        self.seen: int | None = None
        self.last_ack = 0

    def act(self, action: str) -> None:
        self.now += 0.01
        getattr(self, f"on_{action}")()

    def want(self, want: Want | None) -> None:
        if isinstance(want, Close):
            self.on_disconnect()
        elif want is not None:
            self.wants.append(want)

    # The world

    def on_note(self) -> None:
        self.noted += 1
        self.runtime.note(OWNER, str(self.noted))

    def on_note_many(self) -> None:
        for _ in range(7):
            self.on_note()

    def records(self) -> list[Any]:
        return self.runtime.records.get(SHARD, [])

    def on_feed(self) -> None:
        if self.fed < len(self.records()):
            self.fed += 1
            self.hand_out(self.fed - 1)

    def on_feed_twice(self) -> None:
        self.on_feed()
        if self.fed:
            self.hand_out(self.fed - 1)

    def on_feed_skips(self) -> None:
        self.fed = len(self.records())
        if self.session is not None and self.session.phase is not Phase.AWAITING_AUTH:
            self.want(self.session.doubt())

    def hand_out(self, index: int) -> None:
        for event in self.records()[index].record.entries[0].events:
            if not isinstance(event, store.Noted):
                continue
            for message in event.messages:
                if self.session is not None:
                    self.want(self.session.deliver(message.offset, event_frame(message)))

    def on_answer(self) -> None:
        if not self.wants or self.session is None:
            return
        match self.wants.popleft():
            case Authenticate():
                self.want(self.session.authenticated(self.now))
            case Register(device_id, after, epoch):
                connection = self.session.connection_id
                command = store.RegisterDevice(device_id, connection, after, epoch)
                self.want(self.session.replay(self.runtime.answer(OWNER, command)))
            case Read(after):
                self.want(self.session.replay(self.runtime.answer(OWNER, store.ReadInbox(after))))

    # The network

    def on_connect(self) -> None:
        if self.session is not None:
            return
        self.connections += 1
        self.session = InboxSession(
            f"c-{self.connections}",
            Outbox(self.queue_bytes_max),
            heartbeat_s=10.0,
            now=self.now,
        )
        self.asked_again, self.seen = False, None
        auth = {
            "frame": "auth", "token": "t", "device_id": "d",
            "epoch": self.device.epoch, "acked": self.device.received,
        }  # fmt: skip
        self.want(self.session.receive(json.dumps(auth), self.now))

    def on_disconnect(self) -> None:
        if self.session is not None:
            self.session.end()
        self.session = None
        self.wants.clear()
        self.wire.clear()

    def on_network(self) -> None:
        if self.session is None:
            return
        frame = self.session.outbox.take()
        if frame is not None:
            self.session.outbox.written(frame)
            self.wire.append(frame.text)
        else:
            self.want(self.session.drained())

    def on_device_stores(self) -> None:
        while self.wire:
            frame = json.loads(self.wire.popleft())
            if frame["frame"] == "event" and not self.asked_again:
                assert self.seen is None or frame["offset"] == self.seen + 1, "sent twice"
                self.seen = frame["offset"]
            elif frame["frame"] == "snapshot":
                self.seen = frame["head"]
            self.device.take(frame)

    def on_ack(self) -> None:
        session = self.session
        if session is None or session.epoch is None or self.seen is None:
            return
        frame = {"frame": "ack", "offset": self.device.received}
        self.want(session.receive(json.dumps(frame), self.now))
        assert session.phase is not Phase.CLOSED, "what the device has was sent to it"
        command = store.AcknowledgeInbox("d", session.connection_id, session.ack)
        try:
            self.runtime.answer(OWNER, command)
        except Refused as refused:
            raise AssertionError(refused.code) from refused

    def on_heartbeat(self) -> None:
        session = self.session
        if session is None or session.phase is not Phase.LIVE or self.device.received is None:
            return
        self.asked_again = True
        frame = {"frame": "heartbeat", "acked": self.device.received}
        self.want(session.receive(json.dumps(frame), self.now))

    def on_beat(self) -> None:
        self.now += 10.0
        if self.session is not None and self.session.phase is Phase.LIVE:
            self.session._heard_at = self.now
            self.want(self.session.tick(self.now))

    def settle(self) -> None:
        """The network heals, the feed catches up: let everything run to its end."""
        for _ in range(100_000):
            self.on_connect()
            self.on_answer()
            self.on_feed()
            self.on_network()
            self.on_device_stores()
            session = self.session
            if session is None or session.phase is not Phase.LIVE or not session.outbox.empty:
                continue
            if not self.wants and not self.wire and self.fed == len(self.records()):
                return
        raise AssertionError("it never came to rest")


@settings(max_examples=150, deadline=None)
@given(
    actions=st.lists(st.sampled_from(ACTIONS), max_size=120),
    queue_bytes_max=st.sampled_from((400, 2_000, 100_000)),
    page_limit=st.sampled_from((1, 3, 500)),
)
def test_offsets_stay_dense_and_nothing_is_missed_or_sent_twice(
    actions: list[str], queue_bytes_max: int, page_limit: int
) -> None:
    simulation = Simulation(queue_bytes_max=queue_bytes_max, page_limit=page_limit)
    for action in actions:
        simulation.act(action)
    simulation.settle()
    expected = [str(number) for number in range(1, simulation.noted + 1)]
    assert simulation.device.folded == expected
    assert simulation.device.received == len(expected)
