"""Campaigns of a simulated day and the people they draw: all at once, at the last moment, in
groups, without paying, too late."""

from random import Random
from typing import TYPE_CHECKING

from domain import campaign
from domain.errors import Problem
from domain.geo import Position
from domain.order import commands as orders
from tests.simulation.people import Customer
from tests.simulation.town import HOME, SELLABLE, STORES

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Organiser", "Shopper", "drawn_campaigns"]

PRICES = {"tea": 251, "cup": 801, "pot": 1999, "set": 1203}
TRIES = 5
"""How often somebody presses the button before giving up."""
TRY_AGAIN = (
    "campaign-not-started", "campaign-out-of-reach", "campaign-sold-out", "group-closed",
    "group-full", "unknown-campaign", "wrong-total",
)  # fmt: skip


def drawn_campaigns(random: Random, now: float) -> dict[str, campaign.Terms]:
    """None, one or two campaigns of a day that begins at ``now``; most days have one."""
    count = random.choice((0, 1, 1, 1, 2))
    return {f"c-{number}": _terms(random, now) for number in range(count)}


def _terms(random: Random, now: float) -> campaign.Terms:
    """Few units, short times: everything is a race."""
    group = random.choice((None, *[_rule(random) for _ in range(3)]))
    starts_at = round(now + random.uniform(20.0, 160.0), 3)
    stores = random.sample(STORES, random.randint(1, len(STORES)))
    sku = random.choice(SELLABLE)
    return campaign.Terms(
        name="Tea time",
        kind="flash_sale" if group is None else "group_buy",
        sku=sku,
        price=PRICES[sku],
        currency="EUR",
        starts_at=starts_at,
        ends_at=round(starts_at + random.choice((40.0, 120.0, 300.0)), 3),
        quota=tuple(campaign.Share(store_id, random.randint(1, 4)) for store_id in stores),
        limit_per_customer=random.choice((0, 1, 2)),
        pay_s=random.choice((8.0, 20.0, 60.0)),
        issuer=random.choice(("platform", "store")),
        group=group,
    )


def _rule(random: Random) -> campaign.GroupRule:
    kind = random.choice(("normal", "newcomers", "ladder"))
    size = random.choice((2, 2, 3))
    stock = random.choice(("on_payment", "on_formation"))
    steps = (campaign.Step(size + 1, 211), campaign.Step(size + 2, 97))
    return campaign.GroupRule(
        kind=kind,
        size=size,
        open_s=random.choice((15.0, 40.0, 100.0)),
        stock=stock,
        late=random.choice(("refund", "head_of_new_group")),
        buffer=random.choice((0, 1)) if stock == "on_formation" else 0,
        steps=steps if kind == "ladder" else (),
    )


class Organiser:
    """Opens one campaign; now and then ends it before its time."""

    def __init__(self, world: "World", campaign_id: str, terms: campaign.Terms) -> None:
        self.world = world
        self.random = world.chance.stream(f"organiser {campaign_id}")
        self.to = f"campaign/{campaign_id}"
        self.terms = terms

    async def live(self) -> None:
        """Announced early, or only just in time."""
        world, random, terms = self.world, self.random, self.terms
        early_s = random.choice((0.0, 1.0, 20.0))
        await world.clock.sleep(terms.starts_at - early_s - world.clock.now())
        opened = await world.ask(self.to, campaign.Open(terms, "ops"))
        if isinstance(opened, Problem) or random.random() < 0.8:
            return
        length_s = terms.ends_at - terms.starts_at
        await world.clock.sleep(random.uniform(0.0, length_s))
        await world.ask(self.to, campaign.End("ops", "enough"))


class Shopper(Customer):
    """Wants a unit of one campaign, and a seat if it has groups."""

    def __init__(
        self, world: "World", campaign_id: str, terms: campaign.Terms, number: int
    ) -> None:
        super().__init__(world, f"{campaign_id} {number}", f"k-{number % 6}")
        self.campaign_id = campaign_id
        self.terms = terms
        self.pickup = self.random.random() < 0.2
        self.quantity = self.random.choice((1, 1, 1, 2))
        where = HOME.lat + self.random.uniform(-0.01, 0.01)
        self.address = orders.Address(Position(where, HOME.lon), "1 Harbour Street")

    async def live(self) -> None:
        """Press the button until there is an order, or no hope."""
        world = self.world
        await world.clock.sleep(self._comes_at() - world.clock.now())
        for _ in range(TRIES):
            placed = await world.ask(self.to, await self._campaign_wish())
            if not isinstance(placed, Problem):
                await self.after(placed, "online", "pickup" if self.pickup else "delivery")
                return
            if placed.code not in TRY_AGAIN:
                return
            await world.clock.sleep(self._patience_s(placed.code))

    def _comes_at(self) -> float:
        """In the burst at the start, around the last moment, or in between."""
        random, terms = self.random, self.terms
        mood = random.random()
        if mood < 0.5:
            return terms.starts_at + random.uniform(-0.02, 0.05)
        if mood < 0.65:
            return terms.ends_at + random.uniform(-0.05, 0.02)
        return random.uniform(terms.starts_at, terms.ends_at)

    def _patience_s(self, code: str) -> float:
        random = self.random
        if code == "campaign-not-started":
            return max(0.0, self.terms.starts_at - self.world.clock.now()) + random.random() * 0.01
        return random.choice((0.0, 0.5, 10.0, 30.0)) * random.random()

    async def _campaign_wish(self) -> orders.Place:
        random = self.random
        return orders.Place(
            "app",
            orders.Customer(self.customer_id, "Ada", "+4915112345678"),
            (orders.PlaceLine(self.terms.sku, self.quantity),),
            "EUR",
            delivery="pickup" if self.pickup else "delivery",
            address=None if self.pickup else self.address,
            store_id=random.choice(self.terms.quota).store_id if self.pickup else "",
            expected_total=1 if random.random() < 0.05 else None,
            campaign_id=self.campaign_id,
            group_id=self._group() if self.terms.group is not None else "",
        )

    def _group(self) -> str:
        """Most join the group that lacks the fewest members; some open one."""
        if self.random.random() < 0.15:
            return ""
        near_completion = self.random.choice((0, 0, 1))
        groups = self.world.groups(self.campaign_id, near_completion)
        return groups[0].group_id if groups else ""
