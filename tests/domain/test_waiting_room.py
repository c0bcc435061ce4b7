"""The waiting room: who is let in when, and what a token is good for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.errors import Busy, Refused
from domain.sealed import seal, unseal
from domain.waiting.commands import Admission, Join
from domain.waiting.model import QueueRule
from domain.waiting.rules import Pass, check_pass, check_rule, join, read_pass, write_pass
from domain.waiting.state import QueueState, evolve, finished_at

NOW = 1_000_000.0
RULE = QueueRule(per_s=2.0, burst=3, valid_s=60.0, waiting_max=10)
SECRET = b"s" * 32
GRANTED = Pass("app", "c-1", "sku:TEA", NOW, NOW + 60)


class Room:
    def __init__(self, rule: QueueRule = RULE, opens_at: float = 0.0) -> None:
        self.rule, self.opens_at = rule, opens_at
        self.state: QueueState | None = None

    def join(self, customer_id: str, now: float = NOW) -> Admission:
        events, admission = join(self.state, Join(customer_id, self.rule, self.opens_at), now)
        for event in events:
            self.state = evolve(self.state, event)
        return admission


def test_a_burst_is_let_in_at_once_and_the_rest_at_the_rate() -> None:
    room = Room()
    waits = [room.join(f"c-{n}").admitted_at - NOW for n in range(7)]
    assert waits == [0, 0, 0, 0.5, 1.0, 1.5, 2.0]


def test_the_position_says_how_many_are_let_in_before() -> None:
    room = Room()
    assert [room.join(f"c-{n}").position for n in range(6)] == [0, 0, 0, 1, 2, 3]


def test_queueing_again_gives_the_same_place_and_costs_nobody_a_turn() -> None:
    room = Room()
    places = [room.join("c-1", NOW + n / 10) for n in range(20)]
    assert {place.admitted_at for place in places} == {NOW}
    assert room.join("c-2").admitted_at == NOW


def test_who_let_the_turn_pass_queues_anew() -> None:
    room = Room()
    first = room.join("c-1")
    again = room.join("c-1", first.expires_at)
    assert again.admitted_at >= first.expires_at


def test_nobody_is_let_in_before_the_opening_and_then_at_the_rate() -> None:
    room = Room(opens_at=NOW + 100)
    waits = [room.join(f"c-{n}", NOW + n).admitted_at - NOW for n in range(5)]
    assert waits == [100, 100, 100, 100.5, 101.0]


def test_a_full_room_sends_further_customers_away_and_keeps_those_inside() -> None:
    room = Room()
    inside = RULE.burst + RULE.waiting_max
    for number in range(inside):
        room.join(f"c-{number}")
    with pytest.raises(Busy) as refused:
        room.join("c-late")
    assert refused.value.code == "queue-full"
    assert room.join("c-0").admitted_at == NOW


def test_past_places_are_forgotten_and_an_empty_room_is_finished() -> None:
    room = Room()
    last = room.join("c-1")
    assert room.state is not None
    assert finished_at(room.state) == last.expires_at
    room.join("c-2", last.expires_at + 1)
    assert list(room.state.places) == ["c-2"]


@given(
    st.lists(st.floats(0, 5), min_size=1, max_size=60),
    st.integers(1, 5),
    st.sampled_from([0.5, 1.0, 3.0, 10.0]),
)
def test_no_stretch_of_time_lets_in_more_than_burst_and_rate(
    gaps: list[float], burst: int, per_s: float
) -> None:
    room, now, admitted = Room(QueueRule(per_s, burst, 1e6, 1_000_000)), NOW, []
    for number, gap in enumerate(gaps):
        now += gap
        place = room.join(f"c-{number}", now)
        assert place.admitted_at >= now
        admitted.append(place.admitted_at)
    assert admitted == sorted(admitted)
    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            stretch = admitted[last] - admitted[first]
            assert last - first + 1 <= burst + stretch * per_s + 1e-3 * per_s + 1e-6


@pytest.mark.parametrize(
    "change",
    [{"per_s": 0.0}, {"burst": 0}, {"valid_s": 0.5}, {"waiting_max": 0}, {"per_s": float("nan")}],
)
def test_an_impossible_rate_is_told(change: dict[str, Any]) -> None:
    assert check_rule(replace(RULE, **change))
    assert not check_rule(RULE)


def test_a_token_says_what_was_written_and_nobody_else_can_write_one() -> None:
    token = write_pass(SECRET, GRANTED)
    assert read_pass(SECRET, token) == GRANTED
    forged = write_pass(b"x" * 32, GRANTED)
    for wrong in ("", "a", "a.b", token[:-1], token[1:], f"{token}A", forged, "é.é", "." * 9):
        with pytest.raises(Refused) as refused:
            read_pass(SECRET, wrong)
        assert refused.value.code == "queue-token-invalid", wrong


def test_no_character_of_a_token_can_be_changed() -> None:
    token = write_pass(SECRET, GRANTED)
    for place in range(token.index(".")):
        other = "A" if token[place] != "A" else "B"
        with pytest.raises(Refused):
            read_pass(SECRET, token[:place] + other + token[place + 1 :])


def test_a_seal_for_one_purpose_is_none_for_another() -> None:
    assert unseal(SECRET, "other", seal(SECRET, "one", GRANTED), Pass) is None


@pytest.mark.parametrize(
    ("channel", "customer", "target", "at", "code"),
    [
        ("app", "c-1", "sku:TEA", 0.0, ""),
        ("app", "c-1", "sku:TEA", 59.9, ""),
        ("app", "c-1", "sku:TEA", -0.001, "queue-token-early"),
        ("app", "c-1", "sku:TEA", 60.0, "queue-token-expired"),
        ("web", "c-1", "sku:TEA", 0.0, "queue-token-foreign"),
        ("app", "c-2", "sku:TEA", 0.0, "queue-token-foreign"),
        ("app", "c-1", "sku:CUP", 0.0, "queue-token-foreign"),
    ],
)
def test_a_token_is_good_for_its_customer_channel_target_and_time(
    channel: str, customer: str, target: str, at: float, code: str
) -> None:
    try:
        check_pass(GRANTED, channel, customer, target, NOW + at)
        found = ""
    except Refused as refused:
        found = refused.code
    assert found == code


def test_tokens_of_one_window_place_one_order_whoever_carries_them() -> None:
    assert replace(GRANTED, channel="web").id_parts == GRANTED.id_parts
    assert replace(GRANTED, admitted_at=NOW + 1).id_parts != GRANTED.id_parts
    assert replace(GRANTED, customer_id="c-2").id_parts != GRANTED.id_parts
