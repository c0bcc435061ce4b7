"""A generated city: stores, zones, goods, riders and a day's customers, all from one seed."""

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import ceil, cos, pi, sin, sqrt
from random import Random

from simulator.campaigns import with_campaigns
from simulator.geometry import Point, distance_m, offset
from simulator.goods import assortment, basket
from simulator.manners import Manners, of_clerk, of_customer, of_rider
from simulator.plan import (
    SPEED_MPS,
    ChannelPlan,
    Goods,
    OrderPlan,
    Plan,
    PlanError,
    RiderPlan,
    StorePlan,
    ZonePlan,
    chance,
)  # fmt: skip

__all__ = ["DEMAND_BY_HOUR", "CityOptions", "equivalent_day", "generate", "stocked"]

DEMAND_BY_HOUR: Sequence[float] = (
    1, 0.4, 0.2, 0.1, 0.1, 0.2, 0.6, 3, 8, 10, 9, 40,
    62, 85, 50, 52, 40, 48, 82, 108, 74, 38, 12, 4,
)  # fmt: skip
"""Relative demand in each hour of the day: quiet mornings, a lunch peak, a higher dinner peak."""


BERLIN = Point(52.5200, 13.4050)


@dataclass(frozen=True, slots=True)
class CityOptions:
    """Size and shape of a generated city. Lengths in metres, times in hours of the day."""

    stores: int = 12
    riders: int = 40
    orders: int = 300
    goods: int = 60
    radius_m: float = 4_000.0
    """Of the built-up area around ``centre``."""
    centre: Point = BERLIN
    time_zone: str = "Europe/Berlin"
    """IANA name of the city's clock."""
    opens_h: float = 11.0
    hours: float = 4.0
    dispatch_zones: int = 2
    own_store: float = 0.0
    """Share of orders that name their store (recorded days: all of them)."""
    one_parcel: bool = False
    """Goods that never need to be split by their handling."""
    scarce: float = 0.02
    """Share of stock cells that hold only half of what will be asked for."""
    currency: str = "EUR"
    channel: str = "app"
    unpaid_s: float = 900.0
    accept_s: int = 300
    """A ticket not accepted for so long goes to the next store."""
    manners: Manners = field(default_factory=Manners)
    campaigns: int = 0
    """A flash sale first, then group-buys of each kind; their orders come besides ``orders``."""
    tag: str = ""
    """Put before every id, so that several days can be lived on one service."""


def generate(seed: int, options: CityOptions | None = None) -> Plan:
    """The city's day. The same seed and options give the same plan, value for value.

    Raises ``PlanError`` for a city without stores or riders.
    """
    options = options or CityOptions()
    if options.stores < 1 or options.riders < 1:
        raise PlanError("A city needs at least one store and one rider.")
    goods = assortment(
        chance(seed, "goods"), options.goods, options.tag, one_parcel=options.one_parcel
    )
    zones = _dispatch_zones(options)
    stores = [_store(seed, number, options, zones) for number in range(1, options.stores + 1)]
    served = {store.dispatch_zone for store in stores}
    orders = _orders(seed, options, goods, stores)
    plan = Plan(
        name=f"city of {options.stores} stores, {options.riders} riders",
        seed=seed,
        currency=options.currency,
        goods=goods,
        stores=stocked(stores, orders, goods, seed, options.scarce),
        riders=_riders(seed, options, {name: zones[name] for name in zones if name in served}),
        orders=tuple(orders),
        channels=(ChannelPlan(options.channel, unpaid_s=options.unpaid_s),),
    )
    return with_campaigns(plan, options.campaigns, options.tag)


def equivalent_day(seed: int, tag: str = "") -> Plan:
    """A day of the size and shape of the recorded ones, for when no recording is at hand: 735
    orders over 24 hours at 176 pick-up points that each order names, 455 riders in shifts."""
    plan = generate(
        seed,
        CityOptions(
            stores=176, riders=455, orders=735, goods=80, radius_m=3_500.0, opens_h=0.0,
            hours=24.0, dispatch_zones=1, own_store=1.0, one_parcel=True, scarce=0.0,
            unpaid_s=1_800.0, accept_s=1_200, manners=Manners.of_a_recorded_day(), tag=tag,
        ),
    )  # fmt: skip
    orders = tuple(_with_recorded_times(order, seed) for order in plan.orders)
    return replace(plan, name="equivalent of a recorded day", orders=orders)


def stocked(
    stores: Sequence[StorePlan],
    orders: Iterable[OrderPlan],
    goods: Sequence[Goods],
    seed: int,
    scarce: float = 0.0,
) -> tuple[StorePlan, ...]:
    """The stores with enough on their shelves for the day's orders: what is asked of a store by
    name, its share of what is asked of anybody, and a margin for what others hand over; a share of
    cells ``scarce`` gets half."""
    by_sku = {item.sku: item for item in goods}
    named: Counter[tuple[str, str]] = Counter()
    anywhere: Counter[str] = Counter()
    for order in orders:
        for sku, quantity in order.lines:
            for unit, count in by_sku[sku].units(quantity).items():
                if order.store_id:
                    named[order.store_id, unit] += count
                else:
                    anywhere[unit] += count
    singles = [item.sku for item in goods if not item.components]
    return tuple(
        replace(store, stock=_stock(store, singles, named, anywhere, len(stores), seed, scarce))
        for store in stores
    )


def _stock(
    store: StorePlan,
    singles: Sequence[str],
    named: Mapping[tuple[str, str], int],
    anywhere: Mapping[str, int],
    stores: int,
    seed: int,
    scarce: float,
) -> dict[str, int]:
    draw = chance(seed, "stock", store.store_id)
    stock = {}
    for sku in singles:
        # Orders crowd at the nearest store, so a fair share is trebled.
        wanted = named.get((store.store_id, sku), 0) + 3.0 * anywhere.get(sku, 0) / stores
        plenty = ceil(wanted * 1.3) + draw.randint(4, 12)
        stock[sku] = ceil(wanted / 2) if draw.random() < scarce else plenty
    return stock


def _dispatch_zones(options: CityOptions) -> dict[str, Point]:
    """Ids and centres of the dispatch zones: on a ring around the city's centre."""
    if options.dispatch_zones <= 1:
        return {f"{options.tag}zone-1": options.centre}
    ring = options.radius_m / 2
    turn = 2 * pi / options.dispatch_zones
    return {
        f"{options.tag}zone-{number + 1}": offset(
            options.centre, ring * cos(turn * number), ring * sin(turn * number)
        )
        for number in range(options.dispatch_zones)
    }


def _store(seed: int, number: int, options: CityOptions, zones: Mapping[str, Point]) -> StorePlan:
    store_id = f"{options.tag}store-{number:03d}"
    draw = chance(seed, "store", number)
    position = _somewhere(draw, options.centre, options.radius_m * 0.9)
    near = min(1_500.0 + draw.random() * 500.0, options.radius_m)
    return StorePlan(
        store_id=store_id,
        name=f"Shop {number}",
        position=position,
        dispatch_zone=nearest(position, zones),
        zones=(
            ZonePlan(f"{store_id}-near", 1, near, 1_800),
            # A store lists no area in two tiers, so the wide zone belongs to routing's tier 2 by
            # its radius: the nearer zone is found first.
            ZonePlan(f"{store_id}-far", 2, options.radius_m * 2.2, 3_000),
        ),
        stock={},
        clerk=of_clerk(store_id, options.manners, seed),
        freight_base=draw.choice((199, 249, 299)),
        freight_free_from=draw.choice((None, 2_500, 4_000)),
        freight_per_km=draw.choice((0, 0, 50)),
        freight_included_m=2_000,
        prep_s=draw.choice((300, 420, 540)),
        accept_s=options.accept_s,
        time_zone=options.time_zone,
    )


def _orders(
    seed: int, options: CityOptions, goods: Sequence[Goods], stores: Sequence[StorePlan]
) -> list[OrderPlan]:
    times = _times(chance(seed, "demand"), options)
    return [
        _order(seed, number, at_s, options, goods, stores)
        for number, at_s in enumerate(times, start=1)
    ]


def _order(
    seed: int,
    number: int,
    at_s: float,
    options: CityOptions,
    goods: Sequence[Goods],
    stores: Sequence[StorePlan],
) -> OrderPlan:
    draw = chance(seed, "order", number)
    position = _somewhere(draw, options.centre, options.radius_m)
    closest = min(stores, key=lambda store: distance_m(store.position, position))
    names_store = draw.random() < options.own_store
    order = OrderPlan(
        key=f"{options.tag}order-{number:05d}",
        at_s=at_s,
        channel=options.channel,
        customer_id=f"{options.tag}customer-{draw.randint(1, options.orders * 2):05d}",
        name="",
        phone="",
        lines=basket(draw, goods),
        position=position,
        store_id=closest.store_id,
    )
    drawn = of_customer(order, options.manners, seed)
    keeps_store = names_store or drawn.delivery == "pickup"
    return drawn if keeps_store else replace(drawn, store_id="")


def _with_recorded_times(order: OrderPlan, seed: int) -> OrderPlan:
    draw = chance(seed, "kitchen", order.key)
    accept_after_s = draw.uniform(30.0, 110.0)
    return replace(
        order,
        promise_s=float(draw.choice((1_560, 1_800, 1_800, 1_800, 2_100))),
        accept_after_s=accept_after_s,
        ready_after_s=accept_after_s + draw.triangular(300.0, 2_400.0, 1_200.0),
    )


def _times(draw: Random, options: CityOptions) -> list[float]:
    """Placing times in seconds of the day, thick where :data:`DEMAND_BY_HOUR` is high."""
    step_h = 0.25
    slots = [options.opens_h + step_h * n for n in range(max(1, round(options.hours / step_h)))]
    sums = list(accumulate(DEMAND_BY_HOUR[int(slot) % 24] for slot in slots))
    times = []
    for _ in range(options.orders):
        slot = slots[min(bisect(sums, draw.random() * sums[-1]), len(slots) - 1)]
        times.append((slot + draw.random() * step_h) * 3_600.0)
    return sorted(times)


def _riders(seed: int, options: CityOptions, zones: Mapping[str, Point]) -> tuple[RiderPlan, ...]:
    opens_s, hours = options.opens_h * 3_600.0, options.hours
    names = list(zones)
    riders = []
    for number in range(1, options.riders + 1):
        rider_id = f"{options.tag}rider-{number:03d}"
        draw = chance(seed, "shift", number)
        zone = names[(number - 1) % len(names)]
        # The first two rounds of riders carry the zone from opening to the last parcel.
        stays = number <= 2 * len(names)
        late_s = 0.0 if stays else draw.random() * hours * 0.5 * 3_600.0
        length_s = hours * 3_600.0 * (1.0 if stays else draw.uniform(0.35, 0.8))
        rider = RiderPlan(
            rider_id=rider_id,
            vehicle=draw.choices(list(SPEED_MPS), weights=(2, 6, 90, 2))[0],
            position=_somewhere(draw, zones[zone], options.radius_m / max(1, len(zones)) ** 0.5),
            on_s=max(0.0, opens_s - 300.0 + late_s),
            off_s=opens_s - 300.0 + late_s + length_s,
            dispatch_zone=zone,
            speed_mps=0.0,
            stays=stays,
        )
        riders.append(of_rider(rider, options.manners, seed))
    return tuple(riders)


def _somewhere(draw: Random, centre: Point, radius_m: float) -> Point:
    """Uniform over a disc."""
    reach, angle = radius_m * sqrt(draw.random()), 2 * pi * draw.random()
    return offset(centre, reach * cos(angle), reach * sin(angle))


def nearest(position: Point, places: Mapping[str, Point]) -> str:
    """The name of the nearest place."""
    return min(places, key=lambda name: distance_m(places[name], position))
