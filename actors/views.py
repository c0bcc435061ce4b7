"""The read model of a process: catalogue, stock hints, pauses and load, kept current by the feed.

It may be stale by a moment, and nothing depends on that: the atomic lock decides (DOMAIN, Routing
rule 5). Questions cost the same with 50 stores as with 5,000: stores are found through a grid of
cells, and a region's stock is kept as a sum per dispatch zone.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import cos, floor, inf, radians
from sys import intern
from typing import Any, TypeAlias

from domain.campaign.brief import Brief, brief_of, followed, orders_of
from domain.campaign.events import Opened
from domain.campaign.open_groups import OpenGroups
from domain.campaign.order_filter import expecting
from domain.catalogue.events import ChannelPut, SkuPut, StorePut
from domain.catalogue.hours import opening
from domain.catalogue.model import ChannelPolicy, Sku, StoreProfile, Zone
from domain.catalogue.rules import explode
from domain.device.events import CodeCreated
from domain.device.state import CodeState
from domain.device.state import evolve as device_after
from domain.errors import Refused
from domain.geo import Circle, Position, contains
from domain.inventory.events import Left
from domain.inventory.state import Cell
from domain.neighbourhood import (
    METRES_PER_DEGREE,
    Candidate,
    Neighbourhood,
    Reach,
    Site,
    reach_of,
)
from domain.risk.blocks import Blocks
from domain.risk.events import BlockPut, BlockRemoved
from domain.store.events import ItemPaused, StorePaused, TicketClosed, TicketMoved, TicketOpened

__all__ = ["KINDS_FOLLOWED", "Views"]

KINDS_FOLLOWED: tuple[str, ...] = ("catalogue", "inventory", "store", "campaign", "risk")
"""What rules need to know everywhere. A gateway follows ``device`` as well: whom it may serve."""

SECRET_BYTES_MAX = 64
"""What BLAKE2b takes as a key."""
CELLS_PER_DEGREE = 50
"""Grid cells of 0.02 degrees, some 2.2 km from south to north."""
CELLS_AROUND = 360 * CELLS_PER_DEGREE
CELLS_OF_ZONE_MAX = 1_024
"""A wider zone is not put into cells; it is looked at for every address."""
MERGED_MAX = 10_000
"""Cells of which the reaches, wide zones among them, are kept sorted."""
IN_WORK = frozenset({"new", "accepted", "picking", "ready"})
"""States of a ticket that count as load: from payment until the goods leave the counter."""

GridCell: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class _Site(Site):
    """A site, and what is needed to keep it current."""

    known: bool = False
    """The catalogue has its profile (stock may be heard of first)."""
    paused: bool = False
    paused_until: float | None = None
    withheld: dict[str, int] = field(default_factory=dict)
    """Paused items, with what would be sellable of them."""
    work: set[str] = field(default_factory=set)
    """Fulfilments in work at the counter."""
    allotted: dict[str, dict[str, int]] = field(default_factory=dict)
    """Channel -> SKU -> units held exclusively for it."""
    cells: list[GridCell] = field(default_factory=list)
    changes_at: float = inf
    """When opening hours or the end of a pause may next change ``open``."""


def _unknown_site(store_id: str) -> _Site:
    nowhere = Position(0.0, 0.0)
    return _Site(StoreProfile(store_id, "", nowhere, "", (), "", active=False), 0.0, 0.0)


class Views:
    """The read model. All methods are plain and quick; none of them waits."""

    def __init__(
        self,
        *,
        pickup_secret: bytes,
        kinds_followed: tuple[str, ...] = KINDS_FOLLOWED,
        lists_groups: bool = True,
    ) -> None:
        """``lists_groups``: keep the open groups of campaigns, as a gateway does.

        Raises ``ValueError`` for an empty secret, with which anybody could work out the codes,
        and for one that is longer than the codes' hash takes."""
        if not 0 < len(pickup_secret) <= SECRET_BYTES_MAX:
            raise ValueError(
                f"Pick-up codes need a secret of 1 to {SECRET_BYTES_MAX} bytes: set "
                "DOORSTEP_PICKUP_SECRET."
            )
        self.pickup_secret = pickup_secret
        """Keys the one-time codes of self-pickup."""
        self.kinds_followed = kinds_followed
        """Whose events are to be passed to :meth:`apply`."""
        self._lists_groups = lists_groups
        self.skus: dict[str, Sku] = {}
        self.stores: dict[str, StoreProfile] = {}
        self.channels: dict[str, ChannelPolicy] = {}
        """Those that were set; see :meth:`channel`."""
        self.campaigns: dict[str, Brief] = {}
        """Quota and time of each campaign, a moment old; of those that ended long ago, little."""
        self.blocks = Blocks()
        """Who may not order."""
        self.sessions: dict[str, CodeState] = {}
        """Paired devices by session id, ended ones among them until their time is over (followed by
        gateways alone)."""
        self._sites: dict[str, _Site] = {}
        self._grid: dict[GridCell, list[Reach]] = {}
        self._wide: list[Reach] = []
        self._merged: dict[GridCell, list[Reach]] = {}
        self._regions: dict[str, dict[str, int]] = {}
        self._changes: list[tuple[float, str]] = []
        self._channels_allotted: set[str] = set()

    # Questions ----------------------------------------------------------------------------------

    def channel(self, name: str) -> ChannelPolicy:
        """The channel's rules; the defaults for a channel that nobody has set."""
        known = self.channels.get(name)
        return ChannelPolicy(name) if known is None else known

    def campaign(self, campaign_id: str) -> Brief:
        """Raises ``Refused`` with ``unknown-campaign``."""
        known = self.campaigns.get(campaign_id)
        if known is None:
            raise Refused("unknown-campaign", f"There is no campaign {campaign_id}.")
        return known

    def stock_of(self, sku: Sku) -> tuple[tuple[str, int], ...]:
        """(SKU, units) that one unit draws from stock: a combo explodes into its components.

        Raises ``Refused``: ``unknown-sku`` for a component that is not in the catalogue,
        ``nested-combo`` for one that is a combo itself.
        """
        if not sku.components:
            return ((sku.sku, 1),)
        for component in sku.components:
            part = self.skus.get(component.sku)
            if part is None:
                raise Refused(
                    "unknown-sku",
                    f"{sku.sku} contains {component.sku}, which is not in the catalogue.",
                    sku=component.sku,
                )
            if part.components:
                raise Refused(
                    "nested-combo", f"{sku.sku} contains the combo {part.sku}: list its parts."
                )
        return explode(sku)

    def candidates(
        self, position: Position, skus: Iterable[str], now: float, channel: str = ""
    ) -> Iterable[Candidate]:
        """The stores whose zone contains the position, to be passed to ``routing.plan``: closed
        ones included, sellable units of the (component) ``skus`` as the channel would get them.

        Nothing is computed for stores that routing does not look at; use the result at once.
        """
        self._advance(now)
        around = Neighbourhood(self._reaches(position), position)
        if channel in self._channels_allotted:
            return self._for_channel(around, channel, tuple(skus))
        return around

    def candidate(
        self, store_id: str, now: float, position: Position | None = None, channel: str = ""
    ) -> Candidate | None:
        """One named store. With a position only if a zone of it reaches there (the best such zone
        is given); without, for self-pickup. None if it is unknown or does not reach there."""
        self._advance(now)
        site = self._sites.get(store_id)
        if site is None or not site.known:
            return None
        zone: Zone | None = None
        if position is not None:
            around = [zone for zone in site.store.zones if contains(zone.area, position)]
            if not around:
                return None
            zone = min(around, key=lambda zone: zone.tier)
        found = site.candidate(zone, position)
        if channel in site.allotted:
            found.sellable = _with_allotment(site, channel, site.stock)
        return found

    def is_open(self, store_id: str, now: float) -> bool:
        """Whether the store takes orders now: active, not paused, within its opening hours."""
        self._advance(now)
        site = self._sites.get(store_id)
        return site is not None and site.open

    def is_withheld(self, store_id: str, skus: Iterable[str]) -> bool:
        """Whether the store has paused one of these (component) SKUs."""
        site = self._sites.get(store_id)
        return site is not None and any(sku in site.withheld for sku in skus)

    def sellable(self, store_id: str, sku: str, channel: str = "") -> int:
        """Units of a SKU or combo sellable at a store; 0 when unknown or paused there."""
        site = self._sites.get(store_id)
        if site is None:
            return 0
        stock: Mapping[str, int] = site.stock
        if channel in site.allotted:
            stock = _with_allotment(site, channel, stock)
        return min((stock.get(part, 0) // units for part, units in self._parts(sku)), default=0)

    def region_sellable(
        self, skus: Iterable[str], position: Position, now: float
    ) -> dict[str, int]:
        """Units of each SKU sellable in the region of a position: the sums of the dispatch zones
        of which an open store delivers there, over all their open stores.

        A combo counts as often as the sums of its components allow. An estimate by nature: a store
        of the region may not reach this very address. 0 where nobody delivers now.
        """
        self._advance(now)
        regions = [self._regions.get(name, {}) for name in self._regions_at(position)]
        return {
            sku: min(
                sum(region.get(part, 0) for region in regions) // units
                for part, units in self._parts(sku)
            )
            for sku in skus
        }

    # Following the feed -------------------------------------------------------------------------

    def apply(self, kind: str, entity: str, event: Any, at: float) -> None:
        """Follow one event of a kind in ``kinds_followed``; others are ignored. ``at`` is the
        record's time."""
        if kind == "inventory":
            left = getattr(event, "left", None)
            if left:
                self._stock_left(self._site(entity), left)
        elif kind == "store":
            self._store_event(self._site(entity), event)
        elif kind == "campaign":
            self._campaign_event(entity, event)
        elif kind == "catalogue":
            self._catalogue_event(event)
        elif kind == "risk":
            if isinstance(event, BlockPut):
                self.blocks.put(event.block)
            elif isinstance(event, BlockRemoved):
                self.blocks.drop(event.block.kind, event.block.value)
        elif kind == "device":
            self._device_event(entity, event)

    def load(self, kind: str, entity: str, state: Any) -> None:
        """Take an entity's state from a snapshot; later events are applied on top."""
        if kind == "inventory":
            site = self._site(entity)
            cells: dict[str, Cell] = state.cells
            for sku in [name for name in site.stock if name not in cells]:
                self._set_sellable(site, sku, 0)
            self._stock_left(
                site,
                [
                    Left(
                        sku,
                        cell.sellable,
                        tuple((name, held.free) for name, held in cell.allotments.items()),
                    )
                    for sku, cell in cells.items()
                ],
            )
        elif kind == "store":
            self._load_store(self._site(entity), state)
        elif kind == "campaign":
            brief = self.campaigns[entity] = brief_of(entity, state)
            brief.orders = orders_of(state)
            if self._lists_groups and state.terms.group is not None:
                brief.groups = OpenGroups.of(state)
        elif kind == "risk":
            if state.block is not None:
                self.blocks.put(state.block)
            elif entity.startswith("block:"):
                self.blocks.drop(*entity.split(":", 2)[1:])
        elif kind == "device":
            self.sessions[entity] = state
        elif kind == "catalogue":
            if state.sku is not None:
                self._catalogue_event(SkuPut(state.sku))
            if state.store is not None:
                self._catalogue_event(StorePut(state.store))
            if state.channel is not None:
                self._catalogue_event(ChannelPut(state.channel))

    def forget(self, kind: str, gone: Callable[[str], bool]) -> None:
        """Drop what has finished and left memory while nobody followed: campaigns that are over,
        blocks that were removed. (Goods, stores and stock never finish.)"""
        if kind == "campaign":
            for campaign_id in [name for name in self.campaigns if gone(name)]:
                del self.campaigns[campaign_id]
        elif kind == "risk":
            for block in self.blocks.all():
                if gone(f"block:{block.kind}:{block.value}"):
                    self.blocks.drop(block.kind, block.value)

    def _campaign_event(self, campaign_id: str, event: Any) -> None:
        brief = followed(self.campaigns.get(campaign_id), campaign_id, event)
        if brief is None:
            return
        self.campaigns[campaign_id] = brief
        if isinstance(event, Opened):
            brief.orders = expecting(event.terms)
            if self._lists_groups and event.terms.group is not None:
                brief.groups = OpenGroups(event.terms)
            for known in self.campaigns.values():
                known.rest(event.at)

    def _catalogue_event(self, event: Any) -> None:
        match event:
            case SkuPut(sku):
                self.skus[sku.sku] = sku
            case ChannelPut(channel):
                self.channels[channel.channel] = channel
            case StorePut(store):
                self.stores[store.store_id] = store
                self._place(self._site(store.store_id), store)

    def _device_event(self, entity: str, event: Any) -> None:
        if isinstance(event, CodeCreated):
            over = [
                name
                for name, known in self.sessions.items()
                if max(known.expires_at, known.session_until) < event.at
            ]
            for name in over:
                del self.sessions[name]
        elif entity not in self.sessions:
            return
        self.sessions[entity] = device_after(self.sessions.get(entity), event)

    def _store_event(self, site: _Site, event: Any) -> None:
        match event:
            case TicketOpened():
                site.work.add(event.ticket.fulfilment_id)
                _weigh(site)
            case TicketMoved():
                if event.state in IN_WORK:
                    site.work.add(event.fulfilment_id)
                else:
                    site.work.discard(event.fulfilment_id)
                _weigh(site)
            case TicketClosed():
                site.work.discard(event.fulfilment_id)
                _weigh(site)
            case StorePaused():
                site.paused, site.paused_until = event.paused, event.until
                self._plan_change(site, 0.0)
            case ItemPaused():
                self._pause_item(site, event.sku, event.paused)

    def _load_store(self, site: _Site, state: Any) -> None:
        site.paused, site.paused_until = state.paused, state.paused_until
        self._plan_change(site, 0.0)
        paused_items = set(state.paused_items)
        for sku in [*site.withheld]:
            if sku not in paused_items:
                self._pause_item(site, sku, False)
        for sku in paused_items:
            self._pause_item(site, sku, True)
        site.work = {name for name, ticket in state.tickets.items() if ticket.state in IN_WORK}
        _weigh(site)

    def _site(self, store_id: str) -> _Site:
        site = self._sites.get(store_id)
        if site is None:
            site = self._sites[store_id] = _unknown_site(store_id)
        return site

    # Stock --------------------------------------------------------------------------------------

    def _stock_left(self, site: _Site, left: Iterable[Left]) -> None:
        for item in left:
            self._set_sellable(site, item.sku, item.sellable)
            if item.channels or site.allotted:
                self._set_allotments(site, item)

    def _set_sellable(self, site: _Site, sku: str, sellable: int) -> None:
        if sku in site.withheld:
            site.withheld[sku] = sellable
            return
        stock = site.stock
        if sku not in stock:
            sku = intern(sku)
        if site.open:
            region = self._regions[site.store.dispatch_zone]
            region[sku] = region.get(sku, 0) + sellable - stock.get(sku, 0)
        stock[sku] = sellable

    def _set_allotments(self, site: _Site, item: Left) -> None:
        for held in site.allotted.values():
            held.pop(item.sku, None)
        for channel, units in item.channels:
            site.allotted.setdefault(channel, {})[item.sku] = units
            self._channels_allotted.add(channel)

    def _pause_item(self, site: _Site, sku: str, paused: bool) -> None:
        if paused and sku not in site.withheld:
            sellable = site.stock.get(sku, 0)
            self._set_sellable(site, sku, 0)
            site.withheld[sku] = sellable
        elif not paused and sku in site.withheld:
            self._set_sellable(site, sku, site.withheld.pop(sku))

    def _parts(self, sku: str) -> tuple[tuple[str, int], ...]:
        known = self.skus.get(sku)
        return ((sku, 1),) if known is None else explode(known)

    def _for_channel(
        self, around: Neighbourhood, channel: str, skus: tuple[str, ...]
    ) -> Iterator[Candidate]:
        """The slower way for a channel with allotments anywhere: its own units are added."""
        for candidate in around:
            site = self._sites[candidate.store.store_id]
            if channel in site.allotted:
                wanted = {sku: site.stock[sku] for sku in skus if sku in site.stock}
                candidate.sellable = _with_allotment(site, channel, wanted)
            yield candidate

    # Where and when -----------------------------------------------------------------------------

    def _reaches(self, position: Position) -> list[Reach]:
        cell = _cell_of(position)
        if not self._wide:
            return self._grid.get(cell, [])
        merged = self._merged.get(cell)
        if merged is None:
            if len(self._merged) >= MERGED_MAX:
                self._merged.clear()
            merged = sorted([*self._grid.get(cell, ()), *self._wide], key=_rank)
            self._merged[cell] = merged
        return merged

    def _regions_at(self, position: Position) -> list[str]:
        found: list[str] = []
        for _, _, _, _, site, zone, _, _ in self._reaches(position):
            name = site.store.dispatch_zone
            if site.open and name not in found and contains(zone.area, position):
                found.append(name)
        return found

    def _place(self, site: _Site, store: StoreProfile) -> None:
        """Take a store's profile over, and put its zones into the grid."""
        self._open_or_close(site, False)
        for cell in site.cells:
            self._grid[cell] = [reach for reach in self._grid[cell] if reach[4] is not site]
            if not self._grid[cell]:
                del self._grid[cell]
        self._wide = [reach for reach in self._wide if reach[4] is not site]
        self._merged.clear()
        site.store, site.known = store, True
        site.lat, site.lon = store.position.lat, store.position.lon
        cells: set[GridCell] = set()
        for zone in store.zones:
            covered = _cells_under(zone)
            if covered is None:
                insort(self._wide, reach_of(site, zone), key=_rank)
                continue
            for cell in covered:
                reach = reach_of(site, zone, _least(site, cell))
                insort(self._grid.setdefault(cell, []), reach, key=_rank)
            cells.update(covered)
        site.cells = list(cells)
        _weigh(site)
        self._plan_change(site, 0.0)

    def _plan_change(self, site: _Site, at: float) -> None:
        site.changes_at = at
        if at < inf:
            heappush(self._changes, (at, site.store.store_id))

    def _advance(self, now: float) -> None:
        """Open and close the stores whose time has come."""
        changes = self._changes
        while changes and changes[0][0] <= now:
            at, store_id = heappop(changes)
            site = self._sites[store_id]
            if site.changes_at == at:
                is_open, changes_at = _hours(site, now)
                self._open_or_close(site, is_open)
                self._plan_change(site, changes_at)

    def _open_or_close(self, site: _Site, is_open: bool) -> None:
        """A region's sums are over its open stores."""
        if site.open == is_open:
            return
        site.open = is_open
        region = self._regions.setdefault(site.store.dispatch_zone, {})
        sign = 1 if is_open else -1
        for sku, units in site.stock.items():
            region[sku] = region.get(sku, 0) + sign * units


def _weigh(site: _Site) -> None:
    site.load = len(site.work) / site.store.capacity_per_slot


def _with_allotment(site: _Site, channel: str, stock: Mapping[str, int]) -> dict[str, int]:
    own = site.allotted[channel]
    return {
        sku: units + (0 if sku in site.withheld else own.get(sku, 0))
        for sku, units in stock.items()
    }


def _hours(site: _Site, now: float) -> tuple[bool, float]:
    """Whether a site is open, and until when that is sure."""
    store = site.store
    if not site.known or not store.active:
        return False, inf
    if site.paused and (site.paused_until is None or now < site.paused_until):
        return False, inf if site.paused_until is None else site.paused_until
    return opening(store, now)


# The grid ---------------------------------------------------------------------------------------


def _rank(reach: Reach) -> tuple[int, int, float, str, str]:
    return reach[0], reach[1], reach[2], reach[3], reach[5].zone_id


def _least(site: Site, cell: GridCell) -> float:
    """The square of how far any address in the cell is from the site at least, on a flat map, in
    degrees of latitude (see ``Reach``); a little less, for what floats round away."""
    row, column = cell
    south, west = row / CELLS_PER_DEGREE, column / CELLS_PER_DEGREE
    size = 1 / CELLS_PER_DEGREE
    north_gap = max(south - site.lat, site.lat - south - size, 0.0)
    east = (site.lon - west - size / 2) % 360.0
    east_gap = max(min(east, 360.0 - east) - size / 2, 0.0)
    narrowing = cos(radians(min(90.0, max(abs(south), abs(south + size)))))
    return (north_gap**2 + (east_gap * narrowing) ** 2) * (1 - 1e-9)


def _cell_of(position: Position) -> GridCell:
    return (
        floor(position.lat * CELLS_PER_DEGREE),
        floor(position.lon * CELLS_PER_DEGREE) % CELLS_AROUND,
    )


def _cells_under(zone: Zone) -> list[GridCell] | None:
    """The cells that a zone's bounding box touches; None when they are too many."""
    area = zone.area
    if isinstance(area, Circle):
        high = area.radius_m / METRES_PER_DEGREE * 1.001
        furthest = abs(area.centre.lat) + high
        if furthest >= 89.0:
            return None
        wide = high / cos(radians(furthest))
        south, north = area.centre.lat - high, area.centre.lat + high
        west, east = area.centre.lon - wide, area.centre.lon + wide
    else:
        south = min(corner.lat for corner in area.corners)
        north = max(corner.lat for corner in area.corners)
        west = min(corner.lon for corner in area.corners)
        east = max(corner.lon for corner in area.corners)
    rows = range(floor(south * CELLS_PER_DEGREE), floor(north * CELLS_PER_DEGREE) + 1)
    columns = range(floor(west * CELLS_PER_DEGREE), floor(east * CELLS_PER_DEGREE) + 1)
    if len(rows) * len(columns) > CELLS_OF_ZONE_MAX or len(columns) >= CELLS_AROUND:
        return None
    return [(row, column % CELLS_AROUND) for row in rows for column in columns]
