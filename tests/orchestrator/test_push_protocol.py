"""One inbox connection, by the frames alone."""

import json
from typing import Any

import pytest

from domain.bounds import OFFSET_MAX
from domain.inbox import InboxMessage, InboxPage
from orchestrator.push.frames import AUTH_S, FRAME_BYTES_MAX, CloseCode, after_close
from orchestrator.push.outbox import Outbox
from orchestrator.push.protocol import (
    Authenticate,
    Close,
    InboxSession,
    Phase,
    Read,
    Register,
    event_frame,
)

EPOCH = "e1"


def message(offset: int, size: int = 2) -> InboxMessage:
    return InboxMessage(offset, f"id-{offset}", "test.said", 1.0, b'"%s"' % (b"x" * size))


def page(first: int, last: int, head: int | None = None) -> InboxPage:
    return InboxPage(
        EPOCH, last if head is None else head, tuple(map(message, range(first, last + 1)))
    )


def session(queue_bytes_max: int = 100_000) -> InboxSession:
    return InboxSession("c-1", Outbox(queue_bytes_max), heartbeat_s=10.0, now=0.0)


def auth(acked: int | None = 0, **fields: Any) -> str:
    frame = {"frame": "auth", "token": "t", "device_id": "d", "epoch": EPOCH, "acked": acked}
    return json.dumps({**frame, **fields})


def said(of: InboxSession) -> list[dict[str, Any]]:
    frames = []
    while (frame := of.outbox.take()) is not None:
        of.outbox.written(frame)
        frames.append(json.loads(frame.text))
    return frames


def offsets(of: InboxSession) -> list[int]:
    return [frame["offset"] for frame in said(of) if frame["frame"] == "event"]


def live(last: int = 0, **options: Any) -> InboxSession:
    """A session that has replayed everything up to ``last``, nothing left in its outbox."""
    new = session(**options)
    assert new.receive(auth(0), 0.0) == Authenticate("t")
    assert new.authenticated(0.0) == Register("d", 0, EPOCH)
    assert new.replay(page(1, last)) is None
    assert new.phase is Phase.LIVE
    said(new)
    return new


def test_a_device_gets_hello_then_the_gap_then_caught_up() -> None:
    new = session()
    new.receive(auth(2), 0.0)
    assert new.authenticated(0.0) == Register("d", 2, EPOCH)
    assert new.replay(page(3, 5)) is None
    hello, *events, caught_up = said(new)
    assert hello == {"frame": "hello", "heartbeat_ms": 10_000, "epoch": EPOCH, "head": 5}
    assert [event["offset"] for event in events] == [3, 4, 5]
    assert events[0] == {
        "frame": "event", "offset": 3, "id": "id-3", "type": "test.said",
        "at": "1970-01-01T00:00:01Z", "data": "xx",
    }  # fmt: skip
    assert caught_up == {"frame": "caught_up", "head": 5}


def test_a_new_device_gets_a_snapshot_and_then_live_messages() -> None:
    new = session()
    new.receive(auth(None, epoch=""), 0.0)
    assert new.authenticated(0.0) == Register("d", None, "")
    new.replay(InboxPage(EPOCH, 7, (), b'{"open":1}'))
    new.deliver(8, event_frame(message(8)))
    frames = said(new)
    assert [frame["frame"] for frame in frames] == ["hello", "snapshot", "caught_up", "event"]
    assert frames[1] == {"frame": "snapshot", "head": 7, "epoch": EPOCH, "data": {"open": 1}}
    assert frames[3]["offset"] == 8


def test_messages_committed_during_the_replay_follow_it_once_each() -> None:
    new = session()
    new.receive(auth(0), 0.0)
    new.authenticated(0.0)
    for offset in (2, 3, 4):
        assert new.deliver(offset, event_frame(message(offset))) is None
    assert new.replay(page(1, 3)) is None
    assert offsets(new) == [1, 2, 3, 4]
    new.deliver(4, event_frame(message(4)))
    new.deliver(5, event_frame(message(5)))
    assert offsets(new) == [5]


def test_a_long_gap_is_read_page_by_page() -> None:
    new = session(queue_bytes_max=1_000_000)
    new.receive(auth(0), 0.0)
    new.authenticated(0.0)
    assert new.replay(page(1, 500, head=1200)) == Read(500)
    assert new.replay(page(501, 1000, head=1200)) == Read(1000)
    assert new.phase is Phase.REPLAYING
    assert new.replay(page(1001, 1200)) is None
    assert offsets(new) == list(range(1, 1201))
    assert new.phase is Phase.LIVE


def test_a_long_replay_waits_for_a_slow_reader_instead_of_overflowing() -> None:
    new = session(queue_bytes_max=10_000)
    new.receive(auth(0), 0.0)
    new.authenticated(0.0)
    assert new.replay(page(1, 100, head=200)) is None
    assert new.drained() is None, "it still has to write what it was given"
    said(new)
    assert new.drained() == Read(100)
    assert new.drained() is None
    assert new.replay(page(101, 200)) is None
    assert offsets(new) == list(range(101, 201))


def test_more_live_messages_than_may_wait_are_read_from_the_inbox_afterwards() -> None:
    new = session(queue_bytes_max=4_000)
    new.receive(auth(0), 0.0)
    new.authenticated(0.0)
    for offset in range(2, 102):
        assert new.deliver(offset, event_frame(message(offset))) is None
    assert new.replay(page(1, 1)) == Read(1)
    assert new.replay(page(2, 101)) is None
    assert offsets(new) == list(range(1, 102))


def test_a_hole_in_the_feed_is_filled_from_the_inbox() -> None:
    new = live(3)
    assert new.deliver(6, event_frame(message(6))) == Read(3)
    assert said(new) == []
    assert new.replay(page(4, 5, head=5)) is None
    assert offsets(new) == [4, 5, 6]


def test_after_a_feed_that_skipped_an_idle_device_gets_what_it_missed() -> None:
    new = live(3)
    assert new.doubt() == Read(3)
    assert new.replay(page(4, 4)) is None
    assert offsets(new) == [4]


def test_doubt_during_a_replay_reads_once_more_after_it() -> None:
    new = session()
    new.receive(auth(0), 0.0)
    new.authenticated(0.0)
    assert new.doubt() is None
    assert new.replay(page(1, 2)) == Read(2)
    assert new.replay(page(3, 3)) is None
    assert offsets(new) == [1, 2, 3]


def test_a_gap_that_was_trimmed_becomes_a_snapshot() -> None:
    new = live(3)
    assert new.deliver(900, event_frame(message(900))) == Read(3)
    new.replay(InboxPage(EPOCH, 900, (), b"{}"))
    assert [frame["frame"] for frame in said(new)] == ["snapshot", "caught_up"]
    new.deliver(901, event_frame(message(901)))
    assert offsets(new) == [901]


def test_a_page_that_leaves_something_out_is_not_passed_on() -> None:
    new = live(3)
    assert new.doubt() == Read(3)
    assert new.replay(page(5, 6)) == Register("d", None, "")
    assert said(new) == []
    new.replay(InboxPage(EPOCH, 6, (), b"{}"))
    assert [frame["frame"] for frame in said(new)] == ["snapshot", "caught_up"]


def test_a_device_that_knows_more_than_the_inbox_starts_from_a_snapshot() -> None:
    new = session()
    new.receive(auth(50), 0.0)
    new.authenticated(0.0)
    assert new.replay(InboxPage(EPOCH, 7)) == Register("d", None, "")
    new.replay(InboxPage(EPOCH, 7, (), b"{}"))
    assert [frame["frame"] for frame in said(new)] == ["hello", "snapshot", "caught_up"]
    assert new.ack <= 7


def test_a_heartbeat_below_the_announced_head_brings_the_gap_again() -> None:
    new = live(3)
    new.deliver(4, event_frame(message(4)))
    new.deliver(5, event_frame(message(5)))
    new.tick(10.0)
    said(new)
    assert new.receive('{"frame":"heartbeat","acked":3}', 10.1) == Read(3)
    new.replay(page(4, 5))
    assert offsets(new) == [4, 5]


def test_a_heartbeat_does_not_bring_again_what_is_still_on_its_way() -> None:
    new = live(3)
    new.deliver(4, event_frame(message(4)))
    assert new.receive('{"frame":"heartbeat","acked":3}', 1.0) is None
    new.tick(10.0)
    assert new.receive('{"frame":"heartbeat","acked":3}', 10.1) is None
    assert offsets(new) == [4]


def crossed() -> InboxSession:
    """The device's heartbeat crossed messages 4 to 8 on their way, so they are read again."""
    new = live(3)
    for offset in range(4, 9):
        new.deliver(offset, event_frame(message(offset)))
    new.tick(10.0)
    said(new)
    assert new.receive('{"frame":"heartbeat","acked":3}', 10.1) == Read(3)
    return new


def test_what_was_on_its_way_may_be_acknowledged_while_it_is_read_again() -> None:
    new = crossed()
    assert new.receive('{"frame":"ack","offset":6}', 10.2) is None
    assert new.ack == 6
    assert new.replay(page(4, 8)) is None
    assert offsets(new) == [7, 8], "the device has what it acknowledged"
    assert new.phase is Phase.LIVE
    refusal = new.receive('{"frame":"ack","offset":9}', 10.3)
    assert refusal == Close(CloseCode.MALFORMED, "never-sent")


def test_a_page_of_nothing_but_what_was_acknowledged_meanwhile_is_followed_by_the_next() -> None:
    new = crossed()
    assert new.receive('{"frame":"ack","offset":8}', 10.2) is None
    assert new.replay(page(4, 6, head=9)) == Read(8)
    assert new.replay(page(9, 9)) is None
    assert offsets(new) == [9]


def test_after_a_snapshot_only_what_it_holds_may_be_acknowledged() -> None:
    new = crossed()
    new.replay(InboxPage("e2", 2))
    new.replay(InboxPage("e2", 2, (), b"{}"))
    refusal = new.receive('{"frame":"ack","offset":8}', 10.2)
    assert refusal == Close(CloseCode.MALFORMED, "never-sent")


def test_the_servers_heartbeat_carries_the_head() -> None:
    new = live(3)
    assert new.next_at == 10.0
    new.tick(10.0)
    assert said(new) == [{"frame": "heartbeat", "head": 3}]
    new.tick(10.1)
    assert said(new) == []


def test_a_silent_client_is_closed_after_two_intervals() -> None:
    new = live()
    new.tick(10.0)
    new.receive('{"frame":"heartbeat"}', 15.0)
    assert new.tick(34.9) is None
    assert new.tick(35.0) == Close(CloseCode.SILENT, "silent")


def test_acknowledgements_never_go_back() -> None:
    new = live(5)
    for offset in (3, 5, 4):
        assert new.receive(f'{{"frame":"ack","offset":{offset}}}', 1.0) is None
    assert new.ack == 5
    assert new.unpassed == 5


def test_an_expired_token_closes_a_session_to_authenticate_again() -> None:
    new = session()
    new.receive(auth(0), 0.0)
    new.authenticated(0.0, expires_in_s=7.0)
    new.replay(page(1, 0))
    assert new.next_at == 7.0
    close = new.tick(7.0)
    assert close == Close(CloseCode.TOKEN_EXPIRED, "token-expired")
    assert after_close(close.code) == "re-authenticate"


def test_overflow_closes_with_a_resumable_code_and_sends_nothing_half() -> None:
    new = live(queue_bytes_max=5_000)
    close = None
    offset = 0
    while close is None:
        offset += 1
        close = new.deliver(offset, event_frame(message(offset, 100)))
        assert offset < 100
    assert close == Close(CloseCode.OVERFLOW, "too-slow")
    assert after_close(close.code) == "resume"
    assert [frame["frame"] for frame in said(new)] == ["problem"]
    assert new.deliver(offset + 1, event_frame(message(offset + 1))) is None
    assert said(new) == []


def test_a_connection_without_auth_is_closed_in_time() -> None:
    new = session()
    assert new.next_at == AUTH_S
    assert new.tick(AUTH_S - 0.1) is None
    assert new.tick(AUTH_S) == Close(CloseCode.AUTH_TIMEOUT, "auth-timeout")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", CloseCode.MALFORMED),
        ("{", CloseCode.MALFORMED),
        ("[]", CloseCode.MALFORMED),
        ('{"frame":"launch"}', CloseCode.MALFORMED),
        ('{"frame":"auth"}', CloseCode.MALFORMED),
        ('{"frame":"ack","offset":1}', CloseCode.MALFORMED),
        ('{"frame":"heartbeat"}', CloseCode.MALFORMED),
        (auth(-1), CloseCode.MALFORMED),
        (auth(0, device_id=""), CloseCode.MALFORMED),
        (auth(0, device_id="d" * 129), CloseCode.MALFORMED),
        (auth(OFFSET_MAX + 1), CloseCode.MALFORMED),
        (auth(10**20), CloseCode.MALFORMED),
        (auth("1"), CloseCode.MALFORMED),  # type: ignore[arg-type]
        ("[" * 10_000, CloseCode.MALFORMED),
        (None, CloseCode.MALFORMED),
        (auth(0, note="x" * FRAME_BYTES_MAX), CloseCode.TOO_LARGE),
        ("é" * (FRAME_BYTES_MAX // 2 + 1), CloseCode.TOO_LARGE),
    ],
)
def test_a_bad_first_frame_is_fatal(text: str | None, code: CloseCode) -> None:
    new = session()
    close = new.receive(text, 1.0)
    assert isinstance(close, Close)
    assert close.code == code
    assert after_close(close.code) == "fatal"
    assert said(new)[-1]["frame"] == "problem"
    assert new.receive(auth(0), 1.0) is None


@pytest.mark.parametrize(
    "text",
    [
        auth(0),
        '{"frame":"ack","offset":4}',
        '{"frame":"ack","offset":-1}',
        '{"frame":"heartbeat","acked":4}',
        '{"frame":"ack","offset":1e3}',
        '{"frame":"ack","offset":99999999999999999999}',
    ],
)
def test_a_bad_later_frame_is_fatal(text: str) -> None:
    close = live(3).receive(text, 1.0)
    assert isinstance(close, Close)
    assert close.code == CloseCode.MALFORMED


def test_unknown_members_of_a_frame_are_ignored() -> None:
    new = live(3)
    assert new.receive('{"frame":"ack","offset":2,"since":"v9"}', 1.0) is None
    assert new.ack == 2


def test_the_ranges_of_close_codes_say_what_to_do() -> None:
    for code in CloseCode:
        expected = "resume" if code < 4100 else "re-authenticate" if code < 4200 else "fatal"
        assert after_close(code) == expected
    for code in (1001, 1006, 1011, 1012, 1013):
        assert after_close(code) == "resume"
