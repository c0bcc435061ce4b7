"""Whatever happens in whatever order, a campaign loses no unit, no seat and no cent.

Messages are delivered in any order and more than once, orders die between their claim and their
placing, or before they heard which other store's units they get for a rejected part; clerks miss
units, operations refunds some, time jumps. The world checks the quota after every single step (see
``CampaignWorld``).
"""

from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.kind import Wake
from domain import campaign
from domain.campaign.state import capacity
from domain.errors import DoorstepError
from domain.order import commands
from domain.order.events import Fulfilment
from domain.order.state import OrderState, due_units
from tests.fakes.campaign_world import (
    CAMPAIGN,
    CampaignWorld,
    flash_terms,
    group_terms,
    order_id,
)
from tests.fakes.order_world import KINDS, START

LADDER = (campaign.Step(3, 500), campaign.Step(4, 400))
TERMS = st.one_of(
    st.builds(flash_terms, limit_per_customer=st.sampled_from([0, 2])),
    st.builds(
        lambda late, stock, size: group_terms(
            {"late": late, "stock": stock, "size": size}, pay_s=120.0,
        ),
        st.sampled_from(["refund", "head_of_new_group"]),
        st.sampled_from(["on_payment", "on_formation"]),
        st.integers(2, 3),
    ),
    st.just(group_terms({"kind": "newcomers", "size": 2})),
    st.just(group_terms({"kind": "ladder", "size": 2, "steps": LADDER})),
)  # fmt: skip
DICE = st.integers(0, 9_999)
SOLD = st.lists(st.tuples(st.just("sell"), DICE), max_size=4)
"""So many orders have their tickets before the rest happens: by chance that takes long."""
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["place", "sell", "join", "join", "join", "pay", "buy", "buy", "capture", "deliver",
             "deliver", "repeat", "settle", "cancel", "dead", "reject", "reject", "lose", "miss",
             "refund", "wait", "wake", "end"]
        ),
        DICE,
    ),
    min_size=15,
    max_size=60,
)  # fmt: skip


class Play:
    """One history."""

    def __init__(self, terms: campaign.Terms) -> None:
        self.world = CampaignWorld(terms)
        self.grouped = terms.group is not None
        self.orders: list[int] = []
        self.captured: set[int] = set()
        self.number = 0
        self.unheard: list[tuple[str, Fulfilment]] = []
        """Rejections whose outcome was lost, each with its order."""

    def step(self, act: str, dice: int) -> None:
        """One thing happens; refusals are part of life."""
        with suppress(DoorstepError):
            getattr(self, act)(dice)

    def place(self, dice: int, group_id: str = "") -> None:
        self.number += 1
        number = self.number
        self.world.place(
            number, 1 + dice % 2, group_id=group_id, customer=f"c-{dice % 7}", run=False
        )
        self.orders.append(number)

    def join(self, dice: int) -> None:
        groups = self.world.groups() if self.grouped else ()
        self.place(dice, groups[dice % len(groups)].group_id if groups else "")

    def pay(self, dice: int) -> None:
        if self.orders:
            self.world.start_payment(self.orders[dice % len(self.orders)])

    def capture(self, dice: int) -> None:
        opened = [n for n in self.orders if self.world.order_of(n).payments]
        if opened:
            number = opened[dice % len(opened)]
            self.world.capture(number)
            self.captured.add(number)

    def buy(self, dice: int) -> None:
        """Of the newest orders, one is paid at once."""
        if self.orders:
            number = self.orders[-1 - dice % min(4, len(self.orders))]
            self.world.start_payment(number)
            self.world.capture(number)
            self.captured.add(number)

    def sell(self, dice: int) -> None:
        """A sale without trouble, up to the ticket (of a group: if it is its last member's)."""
        self.join(dice)
        self.world.run()
        self.buy(0)
        self.world.run()

    def settle(self, dice: int) -> None:
        self.world.run()

    def deliver(self, dice: int) -> None:
        if self.world.queue:
            self.world.deliver(dice % len(self.world.queue))

    def repeat(self, dice: int) -> None:
        if self.world.queue:
            self.world.deliver(dice % len(self.world.queue), repeat=True)

    def cancel(self, dice: int) -> None:
        if self.orders:
            number = self.orders[dice % len(self.orders)]
            self.world.ask(f"order/{order_id(number)}", commands.Cancel("no"))

    def dead(self, dice: int) -> None:
        """An order that died between its claim and its placing."""
        self.number += 1
        name = order_id(self.number)
        claim = campaign.Claim(f"{name}-1", name, f"c-{dice % 7}", "app", 1, ("s-1", "s-2"))
        self.world.ask(CAMPAIGN, claim)

    def reject(self, dice: int) -> None:
        """By a store that has the ticket."""
        for name, part in self._in_store(dice):
            self._reject(name, part)

    def lose(self, dice: int) -> None:
        """The order of a rejected part dies when its campaign has just answered it; the store says
        it again, at the latest in the end."""
        for name, part in self._in_store(dice):
            if part.campaign_id:
                self.unheard.append((name, part))
                order = self.world.states[name]
                units = sum(units for _, units in due_units(order, order.parts[-1]))
                told = (order.claim_id, part.fulfilment_id, units, ("s-1", "s-2"))
                self.world.ask(CAMPAIGN, campaign.Reassign(*told))

    def miss(self, dice: int) -> None:
        """A clerk finds one unit less than was ordered."""
        for name, part in self._in_store(dice):
            order = self.world.states[name]
            for line_id, units in due_units(order, order.parts[-1])[:1]:
                told = (part.fulfilment_id, part.store_id, ((line_id, units - 1),), self.world.now)
                self.world.ask(name, commands.RecordPicked(*told))

    def refund(self, dice: int) -> None:
        """Operations gives the money of one unit back."""
        if self.orders:
            name = f"order/{order_id(self.orders[dice % len(self.orders)])}"
            line = self.world.states[name].lines[0]
            units = (commands.RefundUnits(line.line_id, 1),)
            self.world.ask(name, commands.RefundLines(f"r-{dice}", units, "goodwill", "ana"))

    def _reject(self, name: str, part: Fulfilment) -> None:
        told = (part.fulfilment_id, part.store_id, "no staff", self.world.now, "")
        self.world.ask(name, commands.RecordRejected(*told))

    def _in_store(self, dice: int) -> list[tuple[str, Fulfilment]]:
        """The last part of one of the orders whose tickets are with a store; or nothing."""
        names = [f"order/{order_id(number)}" for number in self.orders]
        found = [
            (name, part.fulfilment)
            for name in names
            if (part := self.world.states[name].parts[-1]).state in ("new", "ready") and part.sold
        ]
        return [found[dice % len(found)]] if found else []

    def wait(self, dice: int) -> None:
        self.world.now += dice % (400 if dice % 7 == 0 else 20)

    def wake(self, dice: int) -> None:
        due = [
            to
            for to, state in self.world.states.items()
            if KINDS[to.partition("/")[0]].wake_at(state) <= self.world.now
        ]
        if due:
            self.world.ask(due[dice % len(due)], Wake())

    def end(self, dice: int) -> None:
        if dice % 7 == 0:
            told = self.world.ask(CAMPAIGN, campaign.End("ops", "enough"))
            assert told == self.world.view(), "the answer is the campaign as it is from then on"

    def finish(self) -> None:
        """Everything owed arrives and all time is over."""
        self.world.run()
        for name, part in self.unheard:
            with suppress(DoorstepError):
                self._reject(name, part)
        self.world.run()
        self.world.at(self.world.now - START + 8_000)


@settings(max_examples=120, deadline=None)
@given(terms=TERMS, sold=SOLD, steps=STEPS)
def test_no_history_loses_a_unit_a_seat_or_a_cent(
    terms: campaign.Terms, sold: Any, steps: Any
) -> None:
    play = Play(terms)
    for act, dice in (*sold, *steps):
        play.step(act, dice)
    play.finish()
    world = play.world
    state = world.campaign_state
    assert state.ended
    assert not state.seats
    assert not state.groups
    assert state.tally.available == state.tally.held == 0
    assert world.reserved() == 0, "what was not sold is back in the pool"
    shipped = 0
    members: dict[str, int] = {}
    for number in play.orders:
        order = world.order_of(number)
        if order.state == "paid":
            shipped += _units_from_quota(order)
            members[order.group_id] = members.get(order.group_id, 0) + 1
            assert all(part.state in ("new", "ready", "cancelled") for part in order.parts)
            assert world.refunds(number) <= order.total
        else:
            assert order.state == "cancelled"
            paid = number in play.captured
            assert world.refunds(number) == (order.total if paid else 0)
    assert state.tally.sold >= shipped
    gone = sum(map(_gone, map(world.order_of, play.orders)))
    assert sum(world.cell(name, "cup")[0] for name in ("s-1", "s-2", "s-3")) == 30 - gone
    groups = {group_id: count for group_id, count in members.items() if group_id}
    assert len(groups) <= state.formed
    assert all(count <= capacity(terms) for count in groups.values())


def _gone(order: OrderState) -> int:
    """Units that were sold, or were not on the shelf though the books said so."""
    if order.state != "paid":
        live = set()
    else:
        live = {part.fulfilment.fulfilment_id for part in order.parts if part.state != "cancelled"}
    marks = order.marks
    return sum(
        line.quantity if line.fulfilment_id in live
        else marks[line.line_id].short if line.line_id in marks else 0
        for line in order.lines
    )  # fmt: skip


def _units_from_quota(order: OrderState) -> int:
    own = {part.fulfilment.fulfilment_id for part in order.parts if part.fulfilment.campaign_id}
    return sum(line.quantity for line in order.lines if line.fulfilment_id in own)
