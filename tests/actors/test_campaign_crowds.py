"""A campaign with tens of thousands of open seats and groups does for each command, wake-up and
reader what one with ten does. Steps are counted; nothing is timed."""

from heapq import heapify
from typing import Any

import pytest

from actors.campaign import KIND as campaign_kind
from actors.engine.codec import Codec, Registry
from actors.engine.host import Host
from actors.engine.ports import Shard, SnapshotWrite
from domain import campaign
from domain.campaign import open_groups, rules
from domain.campaign.open_groups import OpenGroups
from domain.campaign.state import CampaignState, evolve
from domain.campaign.timers import Timer, due
from domain.campaign.views import GroupView
from domain.parts import Paged
from tests.fakes.campaign_world import CampaignWorld, flash_terms, group_terms
from tests.fakes.order_world import START


def crowd(state: CampaignState, count: int, group_id: str = "") -> str:
    """So many customers claim a unit each."""
    if group_id:
        evolve(state, campaign.GroupOpened(group_id, "o0", START + 600, START))
    for number in range(count):
        share = campaign.Share("s-1", 1)
        tally = campaign.Tally(state.tally.available - 1, state.tally.held + 1)
        claimed = campaign.Claimed(
            f"k{number}", f"o{number}", f"c{number}", (share,), group_id, START + 300,
            campaign.After((), tally), START,
        )  # fmt: skip
        evolve(state, claimed)
    return group_id


# Timers -----------------------------------------------------------------------------------------


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


# Groups -----------------------------------------------------------------------------------------


def with_groups(count: int) -> OpenGroups:
    """So many groups of three; every hundredth lacks one member, every tenth of the others two."""
    groups = OpenGroups(group_terms({"size": 3}))
    for number in range(count):
        group_id = f"c-1:{number + 1}"
        groups.opened(group_id, START, START + 600 + number)
        groups.counted(group_id, paid=0, claimed=1)
        if number % 10 == 0:
            groups.counted(group_id, paid=1, claimed=-1)
        if number % 100 == 0:
            groups.counted(group_id, paid=1, claimed=0)
    return groups


def test_a_reader_of_the_groups_costs_the_page_that_is_shown_and_not_all_that_are_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups, made = with_groups(20_000), []

    def counted(*facts: object) -> GroupView:
        made.append(facts)
        return GroupView(*facts)  # type: ignore[arg-type]

    monkeypatch.setattr(open_groups, "GroupView", counted)
    listed = groups.listed(0, 250, START)
    assert [one.missing for one in listed] == [1] * 200 + [2] * 50
    assert [one.closes_at for one in listed] == [
        *(START + 600 + 100 * number for number in range(200)),
        *(START + 610 + 10 * number + 10 * (number // 9) for number in range(50)),
    ]
    assert len(made) == 250
    assert len(groups.listed(1, 500, START)) == 200
    assert groups.listed(1, 1, START + 600)[0].closes_at == START + 700, "the first has closed"


def test_a_full_group_is_not_offered_until_a_seat_is_given_back() -> None:
    groups = with_groups(1)
    assert groups.listed(0, 5, START)[0].seats_free == 1
    groups.counted("c-1:1", paid=0, claimed=1)
    assert groups.listed(0, 5, START) == ()
    groups.counted("c-1:1", paid=-1, claimed=0)
    (listed,) = groups.listed(0, 5, START)
    assert (listed.paid, listed.claimed, listed.missing, listed.seats_free) == (1, 1, 2, 1)
    groups.gone("c-1:1")
    assert groups.listed(0, 5, START) == ()


def test_groups_beyond_what_a_gateway_keeps_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_groups, "FOLLOWED_MAX", 2)
    groups = with_groups(3)
    assert [one.group_id for one in groups.listed(0, 5, START)] == ["c-1:1", "c-1:2"]
    groups.counted("c-1:3", paid=1, claimed=-1)
    groups.gone("c-1:3")
    assert len(groups) == 2


def test_a_payment_looks_at_nobody_elses_seat_until_the_group_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = 10
    world = CampaignWorld(group_terms({"size": size}, quota=(campaign.Share("s-1", 10),)))
    state = world.campaign_state
    group_id = crowd(state, size, "c-1:1")
    looks: list[str] = []
    get = Paged.__getitem__

    def counted(pages: Paged[Any], key: str) -> Any:
        looks.append(key)
        return get(pages, key)

    monkeypatch.setattr(Paged, "__getitem__", counted)
    for number in range(size - 1):
        events, _ = rules.confirm(state, campaign.Confirm(f"k{number}"), START + 1)
        assert len(events) == 1
        for event in events:
            evolve(state, event)
    assert not looks
    events, _ = rules.confirm(state, campaign.Confirm(f"k{size - 1}"), START + 1)
    assert isinstance(events[-1], campaign.GroupFormed)
    assert len(events[-1].order_ids) == size
    assert state.groups.get(group_id) is not None, "decided, not done yet"


# Snapshots --------------------------------------------------------------------------------------


def pass_of(host: Host, bytes_max: int) -> list[SnapshotWrite]:
    """All of a snapshot in slices, as if each had been written."""
    assert host.begin_snapshot()
    writes = []
    while not writes or writes[-1].covered is None:
        writes.append(host.snapshot_slice(1, 100, bytes_max))
        host.snapshot_stored(writes[-1])
    return writes


def bytes_of(write: SnapshotWrite) -> int:
    """What a slice encodes of a campaign's parts."""
    return sum(len(data) for one in write.parts for _, data in one.stored)


def test_a_snapshot_encodes_of_a_crowded_campaign_what_changed_some_of_it_at_a_time() -> None:
    codec = Codec(campaign_kind)
    host = Host(Shard("campaign", 0), codec, Registry((campaign_kind,)))
    state = CampaignWorld(flash_terms()).campaign_state
    crowd(state, 10_000)
    entity = host._entities.add("c-1")
    entity.state = state
    host._changed("c-1", entity, 1)
    writes = pass_of(host, 50_000)
    everything = sum(map(bytes_of, writes))
    assert everything > 500_000
    assert max(map(bytes_of, writes)) < 90_000, "a slice, and a page at most"
    assert len(writes[-1].live[0].data) < 50_000, "the root is small"
    confirm = campaign.Confirm("k5000")
    for event in rules.confirm(state, confirm, START + 1)[0]:
        evolve(state, event)
    host._changed("c-1", entity, 2)
    again = pass_of(host, 50_000)
    assert sum(map(bytes_of, again)) < everything / 20
