"""The books of a campaign's orders, whatever refunds, moves, cuts, short picks, reroutes and
returns came between: each is earned at the list price, its issuer bears the difference, and nothing
is left."""

from collections import Counter
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.ledger.postings import OrderAccount, account_order
from domain import campaign
from domain.errors import DoorstepError
from domain.order import commands
from domain.order.state import FINAL_PARTS, OrderState, Part, lines_of
from tests.fakes.campaign_world import CampaignWorld, flash_terms, group_terms, order_id
from tests.fakes.order_world import START

LIST_PRICE = 1000
SHARES = (campaign.Share("s-1", 5), campaign.Share("s-2", 5))
LADDER = (campaign.Step(2, 500), campaign.Step(3, 0))
TERMS = st.builds(
    lambda make, issuer: make(quota=SHARES, issuer=issuer),
    st.sampled_from(
        [
            lambda **facts: flash_terms(**facts),
            lambda **facts: flash_terms(price=0, **facts),
            lambda **facts: group_terms({"size": 2, "stock": "on_formation"}, **facts),
            lambda **facts: group_terms({"size": 2, "late": "head_of_new_group"}, **facts),
            lambda **facts: group_terms({"kind": "ladder", "size": 2, "steps": LADDER}, **facts),
        ]
    ),
    st.sampled_from(["platform", "store"]),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["buy", "buy", "join", "join", "join", "late", "refund", "refund", "picked", "picked",
             "rejected", "delivered", "undelivered", "returned", "cancel", "wait", "settle"]
        ),
        st.integers(0, 999),
    ),
    min_size=20,
    max_size=50,
)  # fmt: skip


IDLE = FINAL_PARTS | {"held", "parked"}


class Play:
    """One history; every order is paid sooner or later."""

    def __init__(self, terms: campaign.Terms) -> None:
        self.world = CampaignWorld(terms)
        self.grouped = terms.group is not None
        self.number = 0
        self.orders: list[int] = []

    def step(self, act: str, dice: int) -> None:
        """One thing happens; refusals are part of life."""
        with suppress(DoorstepError):
            getattr(self, act)(dice)

    def buy(self, dice: int, group_id: str = "") -> None:
        self.number += 1
        most = 2 if self.grouped else 4
        self.world.place(self.number, 1 + dice % most, group_id=group_id)
        self.orders.append(self.number)
        self.world.start_payment(self.number)
        self.world.capture(self.number)

    def join(self, dice: int) -> None:
        groups = self.world.groups() if self.grouped else ()
        self.buy(dice, groups[dice % len(groups)].group_id if groups else "")

    def late(self, dice: int) -> None:
        """One whose money comes after its time."""
        self.number += 1
        self.world.place(self.number, 4 + dice % 4)
        self.orders.append(self.number)
        self.world.start_payment(self.number)
        self.world.run()
        self.world.at(self.world.now - START + 320)
        self.world.capture(self.number)

    def refund(self, dice: int) -> None:
        number = self._any(dice)
        order = self.world.order_of(number)
        line = order.lines[dice % len(order.lines)]
        wish = (commands.RefundUnits(line.line_id, 1 + dice % 2),)
        self._tell(number, commands.RefundLines(f"r-{len(order.refunds)}", wish, "odd", "ops:ana"))

    def picked(self, dice: int) -> None:
        """Before the delivery or after it."""
        number = self._any(dice)
        parts = self.world.order_of(number).parts
        part = parts[dice // 3 % len(parts)]
        lines = lines_of(self.world.order_of(number), part)
        found = tuple((line.line_id, max(0, line.quantity - dice % 3)) for line in lines)
        self._tell(number, commands.RecordPicked(*_at(part), found, self.world.now))

    def rejected(self, dice: int) -> None:
        number, part = self._part(dice)
        self._tell(number, commands.RecordRejected(*_at(part), "busy", self.world.now))

    def delivered(self, dice: int) -> None:
        number, part = self._part(dice)
        told = commands.RecordDelivered(_at(part)[0], self.world.now, "r-1", 0)
        self._tell(number, told)

    def undelivered(self, dice: int) -> None:
        number, part = self._part(dice)
        told = commands.RecordFailed(_at(part)[0], self.world.now, "r-1", "absent")
        self._tell(number, told)

    def returned(self, dice: int) -> None:
        number, part = self._part(dice)
        self._tell(number, commands.RecordReturned(*_at(part), self.world.now, True))

    def cancel(self, dice: int) -> None:
        self._tell(self._any(dice), commands.Cancel("no"))

    def wait(self, dice: int) -> None:
        self.world.run()
        self.world.at(self.world.now - START + dice)

    def settle(self, dice: int) -> None:
        self.world.run()

    def finish(self) -> None:
        """Groups and their time are over, and every part comes to its end."""
        world = self.world
        world.run()
        world.at(world.now - START + 8_000)
        for number in self.orders:
            for part in list(world.order_of(number).parts):
                if part.state == "returning":
                    self._tell(number, commands.RecordReturned(*_at(part), world.now, True))
                elif part.state not in FINAL_PARTS:
                    told = commands.RecordDelivered(_at(part)[0], world.now, "r-1", 0)
                    self._tell(number, told)
        world.run()

    def _tell(self, number: int, command: Any) -> None:
        self.world.ask(f"order/{order_id(number)}", command)

    def _any(self, dice: int) -> int:
        if not self.orders:
            self.buy(dice)
        return self.orders[dice % len(self.orders)]

    def _part(self, dice: int) -> tuple[int, Part]:
        """A part that is at work, if there is one."""
        self._any(dice)
        every = [
            (number, part) for number in self.orders for part in self.world.order_of(number).parts
        ]
        found = [(number, part) for number, part in every if part.state not in IDLE] or every
        return found[dice % len(found)]


def _at(part: Part) -> tuple[str, str]:
    return part.fulfilment.fulfilment_id, part.fulfilment.store_id


def _books(world: CampaignWorld, number: int) -> Counter[str]:
    """The balances of one order."""
    account: OrderAccount | None = None
    sums: Counter[str] = Counter()
    for to, event in world.every_event:
        if to == f"order/{order_id(number)}":
            account, made = account_order(account, event)
            for document in made:
                assert sum(leg.amount for leg in document.postings) == 0
                for leg in document.postings:
                    sums[leg.account] += leg.amount
    return sums


def _due(world: CampaignWorld, order: OrderState) -> Counter[str]:
    """What the books must show, from the order alone: no store has a unit that was given back, and
    of free units, those that were short."""
    sums: Counter[str] = Counter()
    issuer = world.campaign_state.terms.issuer
    for part in order.parts:
        if part.state not in ("delivered", "collected", "completed"):
            continue
        store_id = part.fulfilment.store_id
        sums[f"freight_revenue:{store_id}"] -= part.fulfilment.freight
        for line in lines_of(order, part):
            mark = order.marks.get(line.line_id)
            gone, cut, short = (mark.refunded, mark.cut, mark.short) if mark else (0, 0, 0)
            paid = (line.amount - cut) // line.quantity
            if not paid:
                gone = min(line.quantity, gone + short)
            units = line.quantity - gone
            sums[f"revenue:{store_id}"] -= LIST_PRICE * units
            bearer = f"store:{store_id}" if issuer == "store" else issuer
            sums[f"discounts:{bearer}"] += (LIST_PRICE - paid) * units
    return sums


@settings(max_examples=80, deadline=None)
@given(terms=TERMS, steps=STEPS)
def test_every_order_is_earned_at_the_list_price_and_nothing_else_is_left(
    terms: campaign.Terms, steps: Any
) -> None:
    play = Play(terms)
    for act, dice in steps:
        play.step(act, dice)
    play.finish()
    for number in play.orders:
        order = play.world.order_of(number)
        assert all(part.state in FINAL_PARTS for part in order.parts)
        expected = _due(play.world, order)
        kept = -sum(expected.values())
        expected["provider_clearing:sandbox"] += kept
        found = _books(play.world, number)
        for name in found.keys() | expected.keys():
            assert found[name] == expected[name], (name, found, expected)
