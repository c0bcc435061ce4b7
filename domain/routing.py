"""Which stores serve an order, and in which parcels (DOMAIN, Routing and splitting, 1 to 4).

Pure: it looks at a snapshot that may be stale; the atomic lock decides (rule 5), and after a lost
race the caller plans again with that store in ``excluded``.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from domain.catalogue.model import ChannelPolicy, StoreProfile, Zone
from domain.errors import Refused
from domain.neighbourhood import Candidate, Neighbourhood, preference

__all__ = ["SEARCH_STEPS_MAX", "STORES_MAX", "Candidate", "Demand", "Part", "parcels", "plan"]

SEARCH_STEPS_MAX = 30_000
"""Bound of each exact search for the fewest stores, in lines looked at (20 to 50 ms). Up to
it the split is exact; beyond it, the store that adds the most value is taken again and again."""


STORES_MAX = 64
"""At most so many stores, the most preferred of those that hold anything wanted, are considered
for a split."""


@dataclass(slots=True)
class Demand:
    """One line to be served. ``stock``: (component SKU, units per ONE unit of the line)."""

    line_id: str
    quantity: int
    stock: tuple[tuple[str, int], ...]
    amount: int = 0
    """Price of the whole line, minor units (for the least value of a part)."""
    group: str = ""
    handling: str = "normal"
    owner: str = ""
    weight_g: int = 0
    """Weight of one unit."""
    volume_ml: int = 0
    """Volume of one unit."""


@dataclass(slots=True)
class Part:
    """One parcel of one store, to become one fulfilment; ``lines`` are (line_id, units)."""

    store: StoreProfile
    zone: Zone | None
    lines: tuple[tuple[str, int], ...]
    distance_m: float = 0.0


def plan(
    demands: Sequence[Demand],
    candidates: Iterable[Candidate],
    policy: ChannelPolicy,
    *,
    excluded: Collection[str] = (),
    partial_ok: bool = False,
) -> list[Part]:
    """The parts that together serve the demands; several parts may be parcels of one store.

    - One store that serves everything, in any tier, goes before every split (rules 2 and 3).
    - A split uses the first tiers in which one is possible at all, in them the fewest stores, and
      among those the most preferred; at most ``policy.max_splits`` stores, each with goods worth
      ``policy.min_part_value`` or more. A group stays at one store. The units of one line are
      spread over stores only when no split keeps every line whole.
    - Each store's share is packed into parcels by owner, handling, weight and volume (rule 4);
      parcels do not count as splits, and a unit heavier than the limit travels alone.
    - ``partial_ok``: when all that is impossible, what the stores can serve, most value first.

    Raises ``Refused``: ``no-zone`` (no candidate at all), ``no-store-open``, or ``short-stock``
    with ``short={sku: missing units}``; its ``reason`` is ``stock`` when the stores together hold
    too little, and ``limits`` when only a split that the rules forbid could serve the order.
    """
    if not demands:
        return []
    need = _need(demands)
    if isinstance(candidates, Neighbourhood):
        best = candidates.best_whole(need, excluded)
    else:
        candidates = list(candidates)
        best = _best_whole(need, candidates, excluded)
    if best is not None:
        return parcels(best, demands)
    usable = _usable(candidates, excluded, need)
    missing = _missing(need, usable)
    if missing and not partial_ok:
        raise _too_little(missing)
    usable = [
        candidate for candidate in usable if any(candidate.sellable.get(sku, 0) > 0 for sku in need)
    ][:STORES_MAX]
    for whole_lines in (True, False):
        shares = _split(demands, usable, policy, whole_lines=whole_lines)
        if shares is not None:
            return _parts(shares, usable, demands)
    partial = _most_value(demands, usable, policy)
    if partial_ok and partial:
        return _parts(partial, usable, demands)
    raise _too_little(missing) if missing else _beyond_limits(need, demands, partial)


def _need(demands: Sequence[Demand]) -> dict[str, int]:
    need: dict[str, int] = {}
    for demand in demands:
        quantity = demand.quantity
        for sku, per_unit in demand.stock:
            need[sku] = need.get(sku, 0) + per_unit * quantity
    return need


def _best_whole(
    need: Mapping[str, int], candidates: Sequence[Candidate], excluded: Collection[str]
) -> Candidate | None:
    return min(
        (
            candidate
            for candidate in candidates
            if candidate.open
            and candidate.store.store_id not in excluded
            and all(candidate.sellable.get(sku, 0) >= units for sku, units in need.items())
        ),
        key=preference,
        default=None,
    )


def _usable(
    candidates: Iterable[Candidate], excluded: Collection[str], need: Mapping[str, int]
) -> list[Candidate]:
    """Open stores still to be tried, the preferred first."""
    known = list(candidates)
    if not known:
        raise Refused("no-zone", "No store delivers to this address. Offer self-pickup instead.")
    left = [candidate for candidate in known if candidate.store.store_id not in excluded]
    if not left:
        raise Refused(
            "short-stock", "No further store can serve this order.", short=dict(need),
            reason="stock",
        )  # fmt: skip
    usable = sorted((candidate for candidate in left if candidate.open), key=preference)
    if not usable:
        raise Refused("no-store-open", "No store here takes orders now. Try again later.")
    return usable


# Parcels (rule 4) -------------------------------------------------------------------------------


def parcels(candidate: Candidate, demands: Sequence[Demand]) -> list[Part]:
    """One store's share as parcels of one owner, one handling, and a bearable size."""
    store = candidate.store
    first = demands[0]
    if not (store.parcel_weight_g or store.parcel_volume_ml) and all(
        demand.owner == first.owner and demand.handling == first.handling for demand in demands
    ):
        lines = tuple([(demand.line_id, demand.quantity) for demand in demands])
        return [Part(store, candidate.zone, lines, candidate.distance_m)]
    kinds: dict[tuple[str, str], list[_Parcel]] = {}
    for demand in demands:
        _pack(demand, kinds.setdefault((demand.owner, demand.handling), []), store)
    return [
        Part(store, candidate.zone, tuple(parcel.lines), candidate.distance_m)
        for packed in kinds.values()
        for parcel in packed
    ]


@dataclass(slots=True)
class _Parcel:
    lines: list[tuple[str, int]] = field(default_factory=list)
    weight_g: int = 0
    volume_ml: int = 0

    def room(self, demand: Demand, store: StoreProfile) -> int:
        """How many more units of the line fit."""
        room = demand.quantity
        if store.parcel_weight_g and demand.weight_g:
            room = min(room, (store.parcel_weight_g - self.weight_g) // demand.weight_g)
        if store.parcel_volume_ml and demand.volume_ml:
            room = min(room, (store.parcel_volume_ml - self.volume_ml) // demand.volume_ml)
        return max(0, room)

    def put(self, demand: Demand, units: int) -> None:
        self.lines.append((demand.line_id, units))
        self.weight_g += units * demand.weight_g
        self.volume_ml += units * demand.volume_ml


def _pack(demand: Demand, parcels: list[_Parcel], store: StoreProfile) -> None:
    """Add a line to the first parcel with room for all of it, else to new ones, full first."""
    for parcel in parcels:
        if parcel.room(demand, store) >= demand.quantity:
            parcel.put(demand, demand.quantity)
            return
    left = demand.quantity
    while left:
        parcel = _Parcel()
        units = min(left, max(1, parcel.room(demand, store)))
        parcel.put(demand, units)
        parcels.append(parcel)
        left -= units


# Splitting over stores (rule 3) -----------------------------------------------------------------

Shares = dict[int, dict[int, int]]
"""Index of the store -> index of the demand -> units."""


@dataclass(slots=True)
class _Block:
    """What one store must serve together: one line, or all lines of a group."""

    lines: tuple[int, ...]
    """Indices of the demands."""
    units: int
    """Units of a single line; 1 for a group."""
    need: dict[str, int]
    """SKU -> stock for one unit."""
    value: int

    def available(self, stock: Mapping[str, int]) -> int:
        """How many units of the block that stock can serve."""
        units = self.units
        for sku, each in self.need.items():
            units = min(units, stock.get(sku, 0) // each)
        return max(0, units)


def _blocks(demands: Sequence[Demand]) -> list[_Block]:
    groups: dict[str, list[int]] = {}
    for index, demand in enumerate(demands):
        groups.setdefault(f"group {demand.group}" if demand.group else f"line {index}", []).append(
            index
        )
    blocks = []
    for indices in groups.values():
        value = sum(demands[index].amount for index in indices)
        if demands[indices[0]].group:
            need = _need([demands[index] for index in indices])
            blocks.append(_Block(tuple(indices), 1, need, value))
        else:
            demand = demands[indices[0]]
            blocks.append(_Block(tuple(indices), demand.quantity, dict(demand.stock), value))
    return blocks


class _Exhausted(Exception):
    """The exact search has taken ``SEARCH_STEPS_MAX`` steps."""


@dataclass(slots=True)
class _Budget:
    """Steps left; shared by all tiers of one search."""

    steps: int = SEARCH_STEPS_MAX

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise _Exhausted


def _split(
    demands: Sequence[Demand],
    usable: Sequence[Candidate],
    policy: ChannelPolicy,
    *,
    whole_lines: bool,
) -> Shares | None:
    """Serve everything from the fewest stores of the first tiers in which that is possible."""
    blocks = _blocks(demands)
    offers = {
        index: offer
        for index, candidate in enumerate(usable)
        if any(offer := _offer(blocks, candidate.sellable, whole_lines=whole_lines))
    }
    wanted = [block.units for block in blocks]
    if policy.max_splits < 2 or any(
        sum(column) < units
        for column, units in zip(zip(*offers.values(), strict=True), wanted, strict=False)
    ):
        return None
    if whole_lines and not _compete(blocks):
        offers = _undominated(offers)
    tiers = sorted({preference(usable[index])[0] for index in offers})
    budget = _Budget()
    for tier in tiers:
        pool = [index for index in offers if preference(usable[index])[0] <= tier]
        try:
            for count in range(2, min(policy.max_splits, len(pool)) + 1):
                for chosen in _covers(pool, offers, wanted, count, budget):
                    shares = _assign(blocks, demands, chosen, usable, policy, whole_lines, budget)
                    if shares is not None:
                        return shares
        except _Exhausted:
            shares = _greedy(blocks, demands, pool, offers, usable, policy, whole_lines)
            if shares is not None:
                return shares
    return None


def _offer(blocks: Sequence[_Block], stock: Mapping[str, int], *, whole_lines: bool) -> list[int]:
    """Units of each block that a store could serve (all or none when lines stay whole)."""
    offer = [block.available(stock) for block in blocks]
    if whole_lines:
        offer = [
            units if units == block.units else 0 for units, block in zip(offer, blocks, strict=True)
        ]
    return offer


def _compete(blocks: Sequence[_Block]) -> bool:
    """Whether two blocks draw on the same SKU."""
    skus = [sku for block in blocks for sku in block.need]
    return len(skus) != len(set(skus))


def _undominated(offers: Mapping[int, list[int]]) -> dict[int, list[int]]:
    """Without the stores that offer nothing which a preferred store does not offer as well."""
    kept: dict[int, list[int]] = {}
    for index, offer in offers.items():
        if not any(
            all(mine <= theirs for mine, theirs in zip(offer, better, strict=True))
            for better in kept.values()
        ):
            kept[index] = offer
    return kept


def _covers(
    pool: Sequence[int],
    offers: Mapping[int, Sequence[int]],
    wanted: Sequence[int],
    count: int,
    budget: _Budget,
) -> Iterator[list[int]]:
    """All sets of ``count`` stores that offer enough of each block, the preferred first."""
    size = len(wanted)
    most = [[0] * size for _ in range(len(pool) + 1)]
    for place in range(len(pool) - 1, -1, -1):
        offer = offers[pool[place]]
        most[place] = [max(most[place + 1][block], offer[block]) for block in range(size)]

    def extend(start: int, left: list[int], chosen: list[int]) -> Iterator[list[int]]:
        budget.spend(size)
        open_places = count - len(chosen)
        if open_places == 0:
            yield chosen
            return
        for place in range(start, len(pool) - open_places + 1):
            if any(left[block] > most[place][block] * open_places for block in range(size)):
                return
            offer = offers[pool[place]]
            after = [left[block] - offer[block] for block in range(size)]
            if open_places == 1 and any(missing > 0 for missing in after):
                budget.spend(size)
                continue
            yield from extend(place + 1, after, [*chosen, pool[place]])

    yield from extend(0, list(wanted), [])


def _assign(
    blocks: Sequence[_Block],
    demands: Sequence[Demand],
    chosen: Sequence[int],
    usable: Sequence[Candidate],
    policy: ChannelPolicy,
    whole_lines: bool,
    budget: _Budget,
) -> Shares | None:
    """Who of the chosen stores serves which block, jointly within each store's stock."""
    budget.spend(2 * len(blocks) * len(chosen))
    skus = {sku for block in blocks for sku in block.need}
    stocks = {store: {sku: usable[store].sellable.get(sku, 0) for sku in skus} for store in chosen}
    fixed = [block for block in blocks if whole_lines or demands[block.lines[0]].group]
    fixed.sort(key=lambda block: sum(block.available(stock) == block.units
                                     for stock in stocks.values()))  # fmt: skip
    loose = [block for block in blocks if not (whole_lines or demands[block.lines[0]].group)]
    shares: Shares = {store: {} for store in chosen}

    def place(number: int) -> bool:
        if number == len(fixed):
            return _spread(loose, chosen, stocks, shares) and _worth_it(shares, demands, policy)
        block = fixed[number]
        for store in chosen:
            budget.spend(1)
            if block.available(stocks[store]) < block.units:
                continue
            _take(block, block.units, stocks[store])
            for line in block.lines:
                shares[store][line] = demands[line].quantity
            if place(number + 1):
                return True
            _take(block, -block.units, stocks[store])
            for line in block.lines:
                del shares[store][line]
        return False

    return {store: share for store, share in shares.items() if share} if place(0) else None


def _take(block: _Block, units: int, stock: dict[str, int]) -> None:
    for sku, each in block.need.items():
        stock[sku] -= each * units


def _spread(
    loose: Sequence[_Block],
    chosen: Sequence[int],
    stocks: Mapping[int, Mapping[str, int]],
    shares: Shares,
) -> bool:
    """Give each line to one store if one has all of it, else over stores, the fullest first.

    Changes ``shares`` only when everything was placed.
    """
    left_stocks = {store: dict(stock) for store, stock in stocks.items()}
    placed: list[tuple[int, int, int]] = []
    for block in loose:
        left = block.units
        room = {store: block.available(left_stocks[store]) for store in chosen}
        whole = next((store for store in chosen if room[store] == left), None)
        order = sorted(chosen, key=lambda store: -room[store]) if whole is None else [whole]
        for store in order:
            units = min(left, room[store])
            if units:
                _take(block, units, left_stocks[store])
                placed.append((store, block.lines[0], units))
                left -= units
        if left:
            return False
    for store, line, units in placed:
        shares[store][line] = units
    return True


def _worth_it(shares: Shares, demands: Sequence[Demand], policy: ChannelPolicy) -> bool:
    """Whether each part of a split reaches the least value (rule 3)."""
    parts = [share for share in shares.values() if share]
    return len(parts) < 2 or all(_value(share, demands) >= policy.min_part_value for share in parts)


def _value(share: Mapping[int, int], demands: Sequence[Demand]) -> int:
    return sum(
        demands[line].amount * units // demands[line].quantity for line, units in share.items()
    )


def _greedy(
    blocks: Sequence[_Block],
    demands: Sequence[Demand],
    pool: Sequence[int],
    offers: Mapping[int, Sequence[int]],
    usable: Sequence[Candidate],
    policy: ChannelPolicy,
    whole_lines: bool,
) -> Shares | None:
    """Beyond the bound: take the store that adds the most value, until all is served."""
    left = [block.units for block in blocks]
    chosen: list[int] = []
    for _ in range(min(policy.max_splits, len(pool))):
        gains = {}
        for store in pool:
            if store not in chosen:
                gains[store] = [min(a, b) for a, b in zip(offers[store], left, strict=True)]
        best = max(gains, key=lambda store: sum(
            (block.value + 1) * units / block.units
            for block, units in zip(blocks, gains[store], strict=True)
        ))  # fmt: skip
        chosen.append(best)
        left = [a - b for a, b in zip(left, gains[best], strict=True)]
        if not any(left):
            break
    if any(left):
        return None
    try:
        return _assign(blocks, demands, sorted(chosen), usable, policy, whole_lines, _Budget())
    except _Exhausted:
        return None


def _most_value(
    demands: Sequence[Demand], usable: Sequence[Candidate], policy: ChannelPolicy
) -> Shares:
    """As much value as the allowed number of stores can serve: store by store, most value first."""
    blocks = _blocks(demands)
    left = [block.units for block in blocks]
    shares: Shares = {}
    for _ in range(min(max(1, policy.max_splits), len(usable))):
        best: tuple[int, int, dict[int, int], list[int]] | None = None
        for store, candidate in enumerate(usable):
            if store in shares:
                continue
            share, after = _fill(blocks, left, demands, candidate.sellable)
            value = _value(share, demands)
            if shares and value < policy.min_part_value:
                continue
            if share and (best is None or value > best[0]):
                best = (value, store, share, after)
        if best is None:
            break
        _, store, shares[store], left = best
    return _enough(shares, demands, policy)


def _fill(
    blocks: Sequence[_Block],
    left: Sequence[int],
    demands: Sequence[Demand],
    sellable: Mapping[str, int],
) -> tuple[dict[int, int], list[int]]:
    """What one store can serve of what is left: (units by line, what is left after it)."""
    stock = {sku: sellable.get(sku, 0) for block in blocks for sku in block.need}
    share: dict[int, int] = {}
    after = list(left)
    for number, block in enumerate(blocks):
        units = min(left[number], block.available(stock))
        if units:
            _take(block, units, stock)
            after[number] -= units
            for line in block.lines:
                share[line] = demands[line].quantity if demands[line].group else units
    return share, after


def _enough(shares: Shares, demands: Sequence[Demand], policy: ChannelPolicy) -> Shares:
    """A first part below the least value cannot stand beside others; the dearest stands alone."""
    if _worth_it(shares, demands, policy):
        return shares
    dearest = max(shares, key=lambda store: _value(shares[store], demands))
    return {dearest: shares[dearest]}


def _parts(shares: Shares, usable: Sequence[Candidate], demands: Sequence[Demand]) -> list[Part]:
    """Shares as parcels, the preferred store first, lines in the order's order."""
    parts: list[Part] = []
    for store in sorted(shares):
        share = shares[store]
        lines = [_portion(demands[line], share[line]) for line in sorted(share)]
        parts.extend(parcels(usable[store], lines))
    return parts


def _portion(demand: Demand, units: int) -> Demand:
    """``units`` of a line."""
    if units == demand.quantity:
        return demand
    return Demand(
        demand.line_id, units, demand.stock, demand.amount * units // demand.quantity,
        demand.group, demand.handling, demand.owner, demand.weight_g, demand.volume_ml,
    )  # fmt: skip


def _missing(need: Mapping[str, int], usable: Sequence[Candidate]) -> dict[str, int]:
    """Units by SKU that all stores together lack."""
    missing = {}
    for sku, units in need.items():
        held = sum(max(0, candidate.sellable.get(sku, 0)) for candidate in usable)
        if held < units:
            missing[sku] = units - held
    return missing


def _too_little(missing: Mapping[str, int]) -> Refused:
    named = ", ".join(f"{units} of {sku} missing" for sku, units in missing.items())
    return Refused(
        "short-stock",
        f"The stores here hold too little: {named}. Order less.",
        short=dict(missing),
        reason="stock",
    )


def _beyond_limits(need: Mapping[str, int], demands: Sequence[Demand], partial: Shares) -> Refused:
    """There is enough, but not within the limits: what the best allowed split would lack."""
    served: dict[str, int] = {}
    for share in partial.values():
        for line, units in share.items():
            for sku, each in demands[line].stock:
                served[sku] = served.get(sku, 0) + each * units
    short = {sku: units - served.get(sku, 0) for sku, units in need.items()}
    return Refused(
        "short-stock",
        "The stores here hold enough only together, and this order may not be split so far. "
        "Order less, or in several orders.",
        short={sku: units for sku, units in short.items() if units > 0} or dict(need),
        reason="limits",
    )
