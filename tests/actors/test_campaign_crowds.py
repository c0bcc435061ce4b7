"""A campaign with tens of thousands of open seats and groups does for each command, wake-up and
reader what one with ten does. Steps are counted; nothing is timed."""

from heapq import heapify

from domain.campaign import rules
from domain.campaign.timers import Timer, due
from tests.fakes.campaign_world import CampaignWorld, flash_terms
from tests.fakes.order_world import START


class CountedHeap(list[Timer]):
    """A heap that counts how often it is looked at."""

    looks = 0

    def __getitem__(self, place):  # type: ignore[no-untyped-def,override]
        self.looks += 1
        return super().__getitem__(place)


def overdue(count: int) -> CountedHeap:
    heap = CountedHeap(
        Timer(float(count - number), "claim", f"k{number}") for number in range(count)
    )
    heapify(heap)
    heap.looks = 0
    return heap


def test_of_many_overdue_claims_no_more_are_looked_at_than_are_asked() -> None:
    heap = overdue(50_000)
    entries = due(heap, 60_000.0)
    first = [next(entries).at for _ in range(rules.ASKED_MAX)]
    assert first == [float(at) for at in range(1, rules.ASKED_MAX + 1)]
    assert heap.looks <= 3 * rules.ASKED_MAX
    assert len(list(due(overdue(100), 10.0))) == 10, "what is not due stays where it is"


def test_overdue_claims_are_asked_in_portions_those_that_are_silent_longest_first() -> None:
    world = CampaignWorld(flash_terms(pay_s=5.0))
    for number in range(4):
        world.now = START + number
        world.place(number)
    state = world.campaign_state
    claims = [world.order_of(number).claim_id for number in range(4)]
    asked = rules.due_claims(state, state.seats[claims[2]].ask_at)
    assert asked is not None
    assert asked.claim_ids == tuple(claims[:3])
    assert rules.due_claims(state, state.seats[claims[0]].ask_at - 0.1) is None


def test_a_wake_up_asks_somebody_though_most_of_what_is_due_no_longer_holds() -> None:
    world = CampaignWorld(flash_terms(pay_s=5.0))
    claim_id = world.place(1).claim_id
    state = world.campaign_state
    at = state.seats[claim_id].ask_at
    state.timers += [Timer(at + 1, "claim", f"k{number}") for number in range(5_000)]
    asked = rules.due_claims(state, at + 100)
    assert asked is not None
    assert asked.claim_ids == (claim_id,)
