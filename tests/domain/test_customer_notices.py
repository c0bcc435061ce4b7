"""What a customer's record says follows from what happened, not from the order in which it heard.

Orders owe their notices one by one, and each is sent again until it is taken: they come late, swap
places and come twice.
"""

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.customer import KIND
from actors.engine.codec import Codec, encode
from actors.engine.kind import Context, Decision
from domain.customer import CheckNewcomer, RecordOrder, RecordOutcome
from domain.customer.state import RECENT_MAX, CustomerState, check_newcomer, standing
from domain.errors import Refused

NOW, PAY_S = 1_000.0, 60.0

LIVES = {
    "still open": ("placed",),
    "bought": ("placed", "completed"),
    "cancelled": ("placed", "cancelled"),
    "refused at the door": ("placed in cash", "refused"),
    "paid late": ("expired", "placed", "completed"),
    "of a group, paid late": ("void 1", "expired", "placed", "completed"),
    "of a group that was ended, paid late": ("void 1", "lapsed", "placed", "completed"),
    "not paid": ("expired",),
    "of a campaign, given up": ("void 1", "abandoned"),
    "given up": ("abandoned",),
    "of a group, given up before it formed": ("placed", "void 1", "cancelled"),
    "of a campaign, not paid": ("void 1", "expired"),
    "of a group that was ended": ("void 1", "lapsed"),
    "of a group that failed": ("placed", "void 1", "cancelled"),
    "of a group that failed, paid late": ("void 1", "expired", "placed", "void 2", "cancelled"),
}
"""The notices of an order, as they are sent ..."""

COUNT = frozenset([*LIVES][:7])
"""... and those that make it one of the customer's orders."""

COMES_BACK = ("placed", "void 2", "completed", "cancelled")
"""Sent once the late payer has been asked about again."""


class Notice(NamedTuple):
    """Word from an order to the record of its customer."""

    order_id: str
    word: str

    def command(self) -> RecordOrder | RecordOutcome:
        order_id, (word, _, more) = self.order_id, self.word.partition(" ")
        if word == "placed":
            return RecordOrder(order_id, cod=bool(more))
        return RecordOutcome(order_id, word, f"{order_id}-{more}" if more else "")


class Record:
    """A customer's record, stored and read again after every notice."""

    def __init__(self) -> None:
        self.state: CustomerState | None = None

    def hear(self, *notices: Notice) -> "Record":
        for notice in notices:
            self.do(notice.command())
        return self

    def do(self, command: Any) -> None:
        decision = KIND.decide(self.state, command, Context(NOW, "c-1", "c"))
        assert isinstance(decision, Decision)
        for event in decision.events:
            self.state = KIND.evolve(self.state, CODEC.event(msgspec.msgpack.decode(encode(event))))
        self.state = msgspec.msgpack.decode(encode(self.state), type=CustomerState | None)

    def says(self) -> dict[str, Any]:
        """What rules and risk make of it."""
        state = self.state or CustomerState()
        return {
            "standing": standing(state, NOW),
            "completed": state.completed,
            "open": dict(sorted(state.open.items())),
            "newcomer": is_newcomer(state),
        }


CODEC = Codec(KIND)


def is_newcomer(state: CustomerState) -> bool:
    """Whether another order may be the customer's first."""
    try:
        check_newcomer(state, "another", 0.0, "", NOW)
    except Refused:
        return False
    return True


def told(order_id: str, life: str) -> list[Notice]:
    return [Notice(order_id, word) for word in LIVES[life]]


class Story(NamedTuple):
    """The notices of a customer's orders as they were sent, and as they came: swapped, repeated."""

    lives: list[str]
    sent: list[Notice]
    came: list[Notice]

    @property
    def orders(self) -> int:
        return sum(life in COUNT for life in self.lives)


@st.composite
def stories(draw: st.DrawFn, wanted: st.SearchStrategy[list[str]]) -> Story:
    lives = draw(wanted)
    sent = [notice for number, life in enumerate(lives) for notice in told(f"o{number}", life)]
    repeats = draw(st.lists(st.sampled_from(sent), max_size=len(sent)))
    return Story(lives, sent, draw(st.permutations(sent + repeats)))


@given(stories(st.lists(st.sampled_from([*LIVES]), min_size=1, max_size=4)))
def test_the_record_says_the_same_in_whatever_order_and_however_often_it_is_told(
    story: Story,
) -> None:
    usual, mixed = Record(), Record()
    for record in (usual, mixed):
        record.do(CheckNewcomer("o0", NOW + PAY_S))
    assert mixed.hear(*story.came).says() == usual.hear(*story.sent).says()
    assert usual.says()["standing"].orders == story.orders


@given(stories(st.sampled_from([[life] for life in LIVES if "group" in life and "late" in life])))
def test_a_newcomer_who_pays_late_is_asked_about_again_before_or_after_the_old_notices_come(
    story: Story,
) -> None:
    def hear(notices: list[Notice]) -> dict[str, Any]:
        record, back = Record(), False
        record.do(CheckNewcomer("o0", NOW + PAY_S))
        for notice in notices:
            if notice.word in COMES_BACK and not back:
                back = True
                record.do(CheckNewcomer("o0", NOW + 2 * PAY_S, instead_of="o0-1"))
            record.hear(notice)
        return record.says()

    said = hear(story.sent)
    assert hear(story.came) == said
    assert (said["standing"].orders, said["newcomer"]) == (story.orders, not story.orders)


@pytest.mark.parametrize("first", ["void 1", "cancelled"])
def test_a_member_of_a_failed_group_stays_a_newcomer_whichever_notice_comes_first(
    first: str,
) -> None:
    member = Record()
    member.do(CheckNewcomer("o1", NOW + PAY_S))
    last = "cancelled" if first == "void 1" else "void 1"
    member.hear(*(Notice("o1", word) for word in ("placed", first, last, last, first)))
    assert member.state is not None
    assert (member.state.orders, member.state.first) == (0, "")
    member.do(CheckNewcomer("o2", NOW + PAY_S))


def test_a_late_void_does_not_take_the_privilege_from_the_order_that_holds_it_now() -> None:
    member = Record()
    member.do(CheckNewcomer("o1", NOW + PAY_S))
    member.hear(*told("o1", "of a group that failed"))
    member.do(CheckNewcomer("o2", NOW + PAY_S))
    member.hear(Notice("o2", "placed"), Notice("o1", "void 1"))
    assert not is_newcomer(member.state or CustomerState())


@pytest.mark.parametrize("paid", [True, False])
def test_who_came_back_keeps_the_seat_while_word_of_the_old_claim_is_still_on_its_way(
    paid: bool,
) -> None:
    member = Record()
    member.do(CheckNewcomer("o1", NOW + PAY_S))
    member.do(CheckNewcomer("o1", NOW + 2 * PAY_S, instead_of="o1-1"))
    member.hear(*([Notice("o1", "placed")] if paid else []), Notice("o1", "void 1"))
    assert member.says()["standing"].orders == paid
    assert not member.says()["newcomer"]


def test_what_is_remembered_of_notices_that_swapped_is_bounded() -> None:
    customer = Record()
    for number in range(3 * RECENT_MAX):
        customer.hear(*reversed(told(f"o{number}", "of a group that failed, paid late")))
        customer.hear(*told(f"n{number}", "of a campaign, given up"))
    assert customer.state is not None
    assert customer.state.orders == 0
    assert len(customer.state.heard) <= RECENT_MAX


@pytest.mark.parametrize("words", [("placed", "void"), ("expired", "placed", "void")])
def test_a_stored_void_that_names_no_claim_is_of_the_order_that_was_recorded(
    words: tuple[str, ...],
) -> None:
    state: CustomerState | None = None
    for word in words:
        placed = ["customer.order_recorded.v1", "o1", False, NOW]
        ended = ["customer.outcome_recorded.v1", "o1", word, NOW]
        state = KIND.evolve(state, CODEC.event(placed if word == "placed" else ended))
    assert state is not None
    assert (state.orders, state.open) == (0, {})


def test_a_void_that_swapped_with_the_end_in_a_state_of_an_older_release_counts_once() -> None:
    stored = [{"o2": False}, {}, 2, 0, 0, ["o1"], "o1", NOW, {}, NOW, NOW + PAY_S, ""]
    member = Record()
    member.state = msgspec.convert(stored, CustomerState)
    for _ in range(2):
        member.hear(Notice("o1", "void 1"))
        assert member.says()["standing"].orders == 1
    assert member.says()["open"] == {"o2": False}
