"""The stores around an address, and the best one that can serve a whole order (Routing 1 and 2).

Thousands of orders a second look here, so nothing is built for a store that loses: sites are kept
by whoever follows the stock (``actors.views``), and the search compares their plain attributes.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, radians

from domain.catalogue.model import StoreProfile, Zone
from domain.geo import Circle, Position, contains, distance_m

__all__ = ["Candidate", "Neighbourhood", "Reach", "Site", "preference", "reach_of"]

METRES_PER_DEGREE = 111_195.0
FLAT_RADIUS_M_MAX = 30_000.0
"""Up to this radius, and away from the poles, a flat map errs by less than ``FLAT_MARGIN``."""
FLAT_LATITUDE_MAX = 70.0
FLAT_MARGIN = 0.02


@dataclass(slots=True)
class Candidate:
    """One store that could serve an address, as routing sees it at this moment."""

    store: StoreProfile
    zone: Zone | None
    """The store's best zone that contains the address; None for self-pickup."""
    distance_m: float
    open: bool
    load: float
    """Orders in work against the store's capacity per slot (rule 2); 1 is full."""
    sellable: Mapping[str, int]
    """Sellable units by (component) SKU; a SKU not listed is not sold here."""


def preference(candidate: Candidate) -> tuple[int, int, float, float, str]:
    """Sort key of rule 2, the preferred first: tier, priority, load, distance (then the id)."""
    store = candidate.store
    tier = 0 if candidate.zone is None else candidate.zone.tier
    return tier, store.priority, candidate.load, candidate.distance_m, store.store_id


@dataclass(slots=True)
class Site:
    """The live facts of one store. ``stock`` holds what is sellable now, paused items at 0."""

    store: StoreProfile
    lat: float
    lon: float
    stock: dict[str, int] = field(default_factory=dict)
    load: float = 0.0
    open: bool = False

    def candidate(self, zone: Zone | None, position: Position | None) -> Candidate:
        """This store for an address (None: the customer comes to the store)."""
        away_m = 0.0 if position is None else distance_m(self.store.position, position)
        return Candidate(self.store, zone, away_m, self.open, self.load, self.stock)


Reach = tuple[int, int, float, str, Site, Zone, float, float]
"""A zone of a site, sortable by rule 2: tier, priority, least distance, store id, site, zone, and
the distances from the store within which an address is surely inside the zone, and beyond which it
is surely outside. Distances are flat and squared, in degrees of latitude."""


def reach_of(site: Site, zone: Zone, least: float = 0.0) -> Reach:
    """The reach of one zone of a site, for addresses at ``least`` so far from the store."""
    surely_inside, surely_outside = -1.0, float("inf")
    area = zone.area
    if (
        isinstance(area, Circle)
        and area.centre == site.store.position
        and area.radius_m <= FLAT_RADIUS_M_MAX
        and abs(site.lat) <= FLAT_LATITUDE_MAX
    ):
        degrees = area.radius_m / METRES_PER_DEGREE
        surely_inside = (degrees * (1 - FLAT_MARGIN)) ** 2
        surely_outside = (degrees * (1 + FLAT_MARGIN)) ** 2
    store = site.store
    return (
        zone.tier, store.priority, least, store.store_id, site, zone, surely_inside, surely_outside
    )  # fmt: skip


class Neighbourhood:
    """The stores around one address. Iterating yields a :class:`Candidate` for each store whose
    zone contains it, with the store's best zone, by (tier, priority); closed stores are included.
    """

    __slots__ = ("position", "reaches")

    def __init__(self, reaches: Sequence[Reach], position: Position) -> None:
        """``reaches`` are sorted, and hold at least every zone that contains ``position``."""
        self.reaches = reaches
        self.position = position

    def __iter__(self) -> Iterator[Candidate]:
        seen: set[str] = set()
        for _, _, _, store_id, site, zone, _, _ in self.reaches:
            if store_id not in seen and contains(zone.area, self.position):
                seen.add(store_id)
                yield site.candidate(zone, self.position)

    def best_whole(
        self, need: Mapping[str, int], excluded: Collection[str] = ()
    ) -> Candidate | None:
        """The preferred open store that holds all of ``need`` (units by SKU), or None.

        The same as the least by :func:`preference` among the candidates that can, save that
        distances are compared on a flat map (a difference below 2% may be taken for a tie).

        Reaches come nearest first: once a store without any load was found, the search ends where
        all others are farther away than it.
        """
        position = self.position
        lat, lon = position.lat, position.lon
        narrowing = cos(radians(lat))
        wants = tuple(need.items())
        best: Site | None = None
        best_zone: Zone | None = None
        best_load = best_away = float("inf")
        best_id = ""
        best_tier = best_priority = 0
        for tier, priority, least, store_id, site, zone, inside, outside in self.reaches:
            if best is not None and (
                priority != best_priority
                or tier != best_tier
                or (least > best_away and best_load <= 0.0)
            ):
                break
            load = site.load
            if load > best_load:
                continue
            # What excludes most stores at least cost comes first: most are farther than the best.
            north = site.lat - lat
            east = abs(site.lon - lon)
            east = (360.0 - east if east > 180.0 else east) * narrowing
            away = north * north + east * east
            if away > outside or not site.open:
                continue
            if load == best_load and (
                away > best_away or (away == best_away and store_id >= best_id)
            ):
                continue
            stock = site.stock
            for sku, quantity in wants:
                if sku not in stock or stock[sku] < quantity:
                    break
            else:
                if store_id in excluded:
                    continue
                if away > inside and not contains(zone.area, position):
                    continue
                best, best_zone, best_load, best_away = site, zone, load, away
                best_id = store_id
                best_tier, best_priority = tier, priority
        return None if best is None else best.candidate(best_zone, position)
