"""The durable inbox: dense offsets, devices, gaps and snapshots, trimming."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import inbox as inboxes
from domain.errors import Refused
from domain.inbox import (
    DEVICE_SILENT_S,
    DEVICES_MAX,
    GAP_MAX,
    MESSAGES_MAX,
    SEEN_REFRESH_S,
    UNCLAIMED_MAX,
    Inbox,
)

NOW = 1_700_000_000.0


def filled(count: int, *, device: bool = True) -> Inbox:
    inbox = Inbox(inboxes.epoch_of(NOW))
    if device:
        inboxes.register(inbox, "d1", "c1", 0, NOW)
    grow(inbox, count)
    return inbox


def grow(inbox: Inbox, count: int, at: float = NOW) -> None:
    drafts = [("thing.happened", b"{}")] * count
    inboxes.grow(inbox, inboxes.compose(inbox, "store/s1", drafts, at))


def offsets(found: tuple[inboxes.InboxMessage, ...] | None) -> list[int]:
    assert found is not None
    return [message.offset for message in found]


def test_messages_get_dense_offsets_and_ids_of_their_own() -> None:
    inbox = filled(2)
    grow(inbox, 1)
    assert offsets(inboxes.read(inbox, 0)) == [1, 2, 3]
    assert len({message.id for message in inbox.messages}) == 3


def test_a_device_that_missed_messages_gets_exactly_those() -> None:
    assert offsets(inboxes.read(filled(5), 3)) == [4, 5]


@pytest.mark.parametrize(
    ("after", "epoch"),
    [(None, ""), (3, "another"), (6, ""), (-1, "")],
    ids=["nothing stored", "other epoch", "beyond the head", "before the first"],
)
def test_where_a_gap_cannot_be_replayed_a_snapshot_is_due(after: int | None, epoch: str) -> None:
    inbox = filled(5)
    assert inboxes.read(inbox, after, epoch) is None
    assert inboxes.starting_after(inbox, after, epoch) == 5


def test_a_gap_longer_than_a_snapshot_becomes_one_but_pages_may_still_be_read() -> None:
    inbox = filled(GAP_MAX + 1)
    assert inboxes.read(inbox, 0) is None
    assert offsets(inboxes.read(inbox, 0, limit=2)) == [1, 2]


def test_messages_stay_until_every_device_has_them() -> None:
    inbox = filled(4)
    inboxes.register(inbox, "d2", "c9", 0, NOW)
    inboxes.acknowledge(inbox, "d1", 4, NOW)
    assert inbox.trimmed == 0
    inboxes.acknowledge(inbox, "d2", 3, NOW)
    assert inbox.trimmed == 3
    assert offsets(inboxes.read(inbox, 3)) == [4]


def test_a_silent_device_no_longer_holds_messages_back() -> None:
    inbox = filled(4)
    inboxes.register(inbox, "d2", "c2", 4, NOW + DEVICE_SILENT_S)
    grow(inbox, 1, NOW + DEVICE_SILENT_S + 1)
    assert "d1" not in inbox.devices
    assert inbox.trimmed == 4


def test_a_device_too_far_behind_no_longer_holds_messages_back() -> None:
    inbox = filled(MESSAGES_MAX + 10)
    assert len(inbox.messages) == MESSAGES_MAX
    assert inboxes.read(inbox, 0) is None


def test_without_devices_only_a_short_tail_is_kept() -> None:
    inbox = filled(UNCLAIMED_MAX + 5, device=False)
    assert inbox.trimmed == 5


def test_the_newest_connection_of_a_device_wins() -> None:
    inbox = filled(3)
    inboxes.register(inbox, "d1", "c2", 1, NOW)
    with pytest.raises(Refused) as refused:
        inboxes.must_record(inbox, "d1", "c1", 2, NOW)
    assert refused.value.code == "stale-connection"
    assert inboxes.must_record(inbox, "d1", "c2", 2, NOW)


def test_strangers_and_offsets_never_given_out_cannot_be_acknowledged() -> None:
    inbox = filled(3)
    for device, connection, offset, code in [
        ("d9", "c1", 1, "unknown-device"),
        ("d1", "c1", 4, "offset-ahead"),
    ]:
        with pytest.raises(Refused) as refused:
            inboxes.must_record(inbox, device, connection, offset, NOW)
        assert refused.value.code == code


def test_repeated_acknowledgements_are_recorded_only_to_show_that_the_device_lives() -> None:
    inbox = filled(3)
    inboxes.acknowledge(inbox, "d1", 3, NOW)
    assert not inboxes.must_record(inbox, "d1", "c1", 3, NOW + SEEN_REFRESH_S - 1)
    assert not inboxes.must_record(inbox, "d1", "c1", 1, NOW)
    assert inboxes.must_record(inbox, "d1", "c1", 3, NOW + SEEN_REFRESH_S)


def test_too_many_devices_push_out_the_one_silent_for_longest() -> None:
    inbox = filled(1)
    for number in range(DEVICES_MAX):
        inboxes.register(inbox, f"n{number}", "c", 1, NOW + 1 + number)
    assert len(inbox.devices) == DEVICES_MAX
    assert "d1" not in inbox.devices


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("grow"), st.integers(1, 5), st.just(0)),
            st.tuples(st.just("ack"), st.integers(0, 60), st.integers(0, 2)),
            st.tuples(st.just("join"), st.integers(0, 60), st.integers(0, 2)),
        ),
        max_size=40,
    )
)
def test_no_device_ever_misses_a_message(steps: list[tuple[str, int, int]]) -> None:
    inbox = Inbox("e")
    stored: dict[str, set[int]] = {}
    for what, number, which in steps:
        device = f"d{which}"
        match what:
            case "grow":
                grow(inbox, number)
            case "join":
                last = max(stored.get(device, {0}) or {0})
                found = inboxes.read(inbox, last if device in stored else None)
                after = inboxes.starting_after(inbox, last if device in stored else None, "")
                inboxes.register(inbox, device, "c", after, NOW)
                if found is None:
                    stored[device] = set(range(1, inbox.head + 1))
                else:
                    stored[device] |= {message.offset for message in found}
                assert stored[device] == set(range(1, inbox.head + 1))
            case "ack" if device in stored:
                offset = min(number, max(stored[device] or {0}))
                if inboxes.must_record(inbox, device, "c", offset, NOW):
                    inboxes.acknowledge(inbox, device, offset, NOW)
        kept = [message.offset for message in inbox.messages]
        assert kept == list(range(inbox.trimmed + 1, inbox.head + 1))


def test_a_registration_that_was_overtaken_by_a_newer_connection_is_refused() -> None:
    inbox = filled(3)
    inboxes.register(inbox, "d1", "newer", 1, NOW, NOW + 2)
    with pytest.raises(Refused) as refused:
        inboxes.check_newest(inbox, "d1", "older", NOW + 1)
    assert refused.value.code == "stale-connection"
    inboxes.check_newest(inbox, "d1", "newer", NOW + 2)
    inboxes.check_newest(inbox, "d1", "newest", NOW + 3)
    inboxes.check_newest(inbox, "d1", "of an old release", 0.0)
    inboxes.check_newest(inbox, "another", "older", NOW)
