"""A small world for one campaign and many orders: the real campaign, order, stock and customer
kinds, played synchronously. Whatever happens, the quota is checked after every step."""

from typing import Any

from actors.engine.kind import Decision, Wake
from domain import campaign, payment
from domain.campaign.brief import Brief
from domain.campaign.open_groups import OpenGroups
from domain.campaign.state import capacity
from domain.campaign.terms import PLACES_MAX
from domain.errors import DoorstepError, Problem
from domain.notice import Notify
from domain.order import commands
from domain.order.state import OrderState
from tests.fakes.order_world import HOME, KINDS, START, World

__all__ = ["CAMPAIGN", "CampaignWorld", "flash_terms", "group_terms", "order_id"]

CAMPAIGN = "campaign/c-1"


def order_id(number: int) -> str:
    """Of the ``number``-th order: as the gateway would derive it, ``o`` and 20 characters."""
    letters = "".join(chr(ord("a") + int(digit)) for digit in f"{number:020d}")
    return f"o{letters}"


def flash_terms(**changes: Any) -> campaign.Terms:
    """10 cups at 600 instead of 1000, from two stores, for an hour that has begun."""
    facts: dict[str, Any] = {
        "name": "Cups", "kind": "flash_sale", "sku": "cup", "price": 600, "currency": "EUR",
        "starts_at": START, "ends_at": START + 3600,
        "quota": (campaign.Share("s-1", 6), campaign.Share("s-2", 4)),
    }  # fmt: skip
    return campaign.Terms(**{**facts, **changes})


def group_terms(rule: dict[str, Any] | None = None, **changes: Any) -> campaign.Terms:
    """Groups of three, open for ten minutes; otherwise as :func:`flash_terms`."""
    facts = {"size": 3, "open_s": 600.0, **(rule or {})}
    rule_of = campaign.GroupRule(**facts)
    return flash_terms(**{"kind": "group_buy", "group": rule_of, **changes})


class CampaignWorld(World):
    """``place``, ``pay`` and ``expire`` orders by number; ``at`` lets time pass."""

    def __init__(self, terms: campaign.Terms | None = None, **facts: Any) -> None:
        self.every_send: list[Any] = []
        self.every_event: list[tuple[str, Any]] = []
        super().__init__(**facts)
        if terms is not None:
            self.ask(CAMPAIGN, campaign.Open(terms, "ops:ana"))
            self.run()

    # Acting -----------------------------------------------------------------------------------

    def place(
        self, number: int, quantity: int = 1, *, group_id: str = "", customer: str = "",
        run: bool = True, **changes: Any,
    ) -> OrderState:  # fmt: skip
        """Order number ``number`` of its own customer; raises what it is refused for."""
        name = order_id(number)
        facts: dict[str, Any] = {
            "channel": "app",
            "customer": commands.Customer(customer or f"c-{number}"),
            "lines": (commands.PlaceLine("cup", quantity),),
            "currency": "EUR",
            "address": commands.Address(HOME),
            "campaign_id": "c-1",
            "group_id": group_id,
        }
        self.ask(f"order/{name}", commands.Place(**{**facts, **changes}))
        if run:
            self.run()
        return self.order_of(number)

    def refusal(self, number: int, *args: Any, **changes: Any) -> Problem:
        """Why an order is not placed; nothing may have changed."""
        before = repr(self.states.get(CAMPAIGN))
        try:
            self.place(number, *args, **changes)
        except DoorstepError as error:
            assert repr(self.states.get(CAMPAIGN)) == before, "a refusal changed the campaign"
            assert f"order/{order_id(number)}" not in self.states
            return error.as_problem()
        raise AssertionError("the order was placed")

    def start_payment(self, number: int) -> None:
        name = order_id(number)
        self.ask(f"order/{name}", commands.StartPayment(f"{name}-p1", "sandbox"))

    def capture(self, number: int) -> None:
        """The provider's webhook; effects stay queued."""
        name = order_id(number)
        order = self.order_of(number)
        self.ask(
            f"order/{name}",
            commands.RecordPayment(f"{name}-p1", "sandbox", "ref", "captured", order.total, "EUR"),
        )

    def pay(self, number: int) -> OrderState:
        """Open a payment, have it captured, and let everything follow."""
        if f"{order_id(number)}-p1" not in self.order_of(number).payments:
            self.start_payment(number)
        self.capture(number)
        self.run()
        return self.order_of(number)

    def at(self, seconds: float) -> None:
        """Let time pass up to so long after the start, every wake-up on the way."""
        end = START + seconds
        for _ in range(10_000):
            due = [
                (KINDS[to.partition("/")[0]].wake_at(state), to)
                for to, state in self.states.items()
            ]
            when, to = min(due)
            if when > end:
                break
            self.now = max(self.now, when)
            self.ask(to, Wake())
            self.run()
        else:
            raise AssertionError("the world does not come to rest")
        self.now = max(self.now, end)

    # Reading ----------------------------------------------------------------------------------

    @property
    def campaign_state(self) -> Any:
        return self.states[CAMPAIGN]

    def order_of(self, number: int) -> OrderState:
        state: OrderState = self.states[f"order/{order_id(number)}"]
        return state

    def view(self) -> campaign.CampaignView:
        view: campaign.CampaignView = self.ask(CAMPAIGN, campaign.Get())
        return view

    def groups(self, near_completion: int = 0) -> tuple[campaign.GroupView, ...]:
        """As a gateway lists them."""
        brief = self.views.campaign("c-1")
        return brief.groups_at(near_completion, PLACES_MAX, self.now)

    def reserved(self) -> int:
        """Cups that stores hold for the campaign."""
        return sum(
            state.cells["cup"].campaigns.get("c-1", 0)
            for to, state in self.states.items()
            if to.startswith("inventory/")
        )

    def sent_by(self, number: int, kind: type) -> list[Any]:
        """Commands of one type that this order owed, oldest first."""
        sender = f"order/{order_id(number)}"
        return [
            send.command
            for owner, send in self.every_send
            if owner == sender and isinstance(send.command, kind)
        ]

    def refunds(self, number: int) -> int:
        """Money that the order owed back to its customer, told to the provider once per refund."""
        asked = self.sent_by(number, payment.RefundPayment)
        assert len({one.refund_id for one in asked}) == len(asked), "a refund was asked twice"
        return sum(one.amount for one in asked)

    def told(self, number: int) -> list[str]:
        """Templates of what the customer was told."""
        return [one.template for one in self.sent_by(number, Notify)]

    # Checking ---------------------------------------------------------------------------------

    def _apply(self, to: str, decision: Decision) -> Any:
        reply = super()._apply(to, decision)
        self.every_event += [(to, event) for event in decision.events]
        self.every_send += [(to, send) for send in decision.sends]
        self.check()
        return reply

    def check(self) -> None:
        """DOMAIN: no unit of the quota is lost or made, no group has too many paid members."""
        state = self.states.get(CAMPAIGN)
        if state is None:
            return
        for shelf in state.shelves.values():
            levels = (shelf.available, shelf.held, shelf.sold, shelf.returned, shelf.wanted)
            assert min(levels) >= 0, shelf
            assert sum(levels[:4]) == shelf.set_aside, shelf
        tally = state.tally
        for name in ("available", "held", "sold", "returned"):
            total = sum(getattr(shelf, name) for shelf in state.shelves.values())
            assert getattr(tally, name) == total, (name, tally)
        for group_id, group in state.groups.items():
            members = state.members[group_id]
            assert group.paid == sum(state.seats[name].paid for name in members)
            assert len(members) <= capacity(state.terms)
        brief = self.views.campaigns["c-1"]
        self._check_groups(brief)
        assert brief.tally == tally
        assert brief.left == {
            name: shelf.available for name, shelf in state.shelves.items() if name in brief.left
        }

    def _check_groups(self, brief: Brief) -> None:
        """What a gateway has followed is what one that starts now would load."""
        state, groups, now = self.campaign_state, brief.groups, self.now
        assert brief.open_groups == len(state.groups)
        if groups is None:
            return
        assert len(groups) == len(state.groups)
        loaded = OpenGroups.of(state)
        for near in (0, 1):
            if not brief.ended:  # by then each closes at once, and none is offered any more
                expected = loaded.listed(near, PLACES_MAX, now)
                assert groups.listed(near, PLACES_MAX, now) == expected

    def check_at_rest(self) -> None:
        """Everything owed was delivered: the stores hold exactly what the campaign has not sold or
        given back."""
        assert not self.queue
        tally = self.campaign_state.tally
        unsold = sum(
            sum(part.units for part in seat.parts)
            for seat in self.campaign_state.seats.values()
            if seat.paid
        )
        rule = self.campaign_state.terms.group
        on_payment = rule is not None and rule.stock == "on_payment"
        waiting = unsold if on_payment else 0
        assert self.reserved() == tally.available + tally.held + waiting
