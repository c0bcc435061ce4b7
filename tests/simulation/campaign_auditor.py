"""The auditor's own books of campaigns: quota, claims, groups and limits, from stored facts alone.

Kept apart from the campaign's rules on purpose: units are moved here by what DOMAIN says of each
event, and then compared with the quota that the event itself tells, with what the stores have set
aside, given back and sold, and with what the orders did.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain import campaign
from domain.inventory import events as goods
from domain.order import events as orders

__all__ = ["Campaigns"]

SOLD = ("sold", "formed")


@dataclass
class Shelf:
    """One store's share; ``wanted`` are units that open groups compete for."""

    aside: int = 0
    available: int = 0
    held: int = 0
    sold: int = 0
    returned: int = 0
    wanted: int = 0
    shipped: int = 0
    """Units that have left the stock."""


@dataclass
class Claim:
    """One order's units and seat. ``state``: ``open | sold | formed | failed | gone``."""

    order_id: str
    customer_id: str
    parts: dict[str, int]
    group_id: str
    state: str = "open"
    paid: bool = False
    price: int = 0
    shipped: bool = False

    @property
    def units(self) -> int:
        """All of them."""
        return sum(self.parts.values())


@dataclass
class Group:
    """A group's seats."""

    order_id: str
    """Who opened it."""
    closes_at: float
    claims: list[str] = field(default_factory=list)
    outcome: str = ""


@dataclass
class Book:
    """One campaign."""

    terms: campaign.Terms
    stock: dict[str, int]
    """Units of each SKU behind one unit of the campaign."""
    shelves: dict[str, Shelf]
    claims: dict[str, Claim] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    ended: bool = False

    @property
    def holds(self) -> bool:
        """Whether a seat holds its units from the claim on."""
        return self.terms.group is None or self.terms.group.stock == "on_payment"

    @property
    def seats(self) -> int:
        """The most members of a group."""
        rule = self.terms.group
        assert rule is not None
        return rule.steps[-1].members if rule.steps else rule.size


class Campaigns:
    """Fed with every stored event by the auditor; ``must`` takes what has to hold."""

    def __init__(self, must: Callable[[bool, str], None]) -> None:
        self.books: dict[str, Book] = {}
        self.claim_of: dict[str, tuple[str, str]] = {}
        """Fulfilment -> (campaign, claim)."""
        self._units: dict[str, int] = {}
        """Fulfilment -> units of its campaign."""
        self._reassigned: dict[str, campaign.Share | None] = {}
        """Fulfilment -> what it was given of another store; None: it gets nothing any more."""
        self.current: dict[str, tuple[str, str]] = {}
        """Order -> (campaign, claim) it holds now."""
        self.told: Counter[tuple[str, str]] = Counter()
        """(order, template) -> times its customer was told."""
        self._must = must
        self._reserved: Counter[tuple[str, str, str]] = Counter()
        """(store, campaign, sku) -> units the store keeps for it."""
        self._recorded: dict[str, set[str]] = {}
        """Customer -> orders that were confirmed and did not come to nothing."""
        self._newcomers: set[tuple[str, str]] = set()

    # ---------------------------------------------------------------- the campaign's facts

    def event(self, campaign_id: str, event: Any) -> None:
        """A fact of a campaign; its quota must agree with ours after it."""
        if isinstance(event, campaign.Opened):
            self._must(campaign_id not in self.books, f"{campaign_id} was opened twice")
            self.books[campaign_id] = Book(
                event.terms,
                {part.sku: part.quantity for part in event.stock},
                {share.store_id: Shelf() for share in event.terms.quota},
            )
            return
        book = self.books[campaign_id]
        match event:
            case campaign.QuotaSet():
                self._set(campaign_id, book, event)
            case campaign.GroupOpened():
                self._must(event.group_id not in book.groups, f"{event.group_id} opened twice")
                timely = event.closes_at <= book.terms.ends_at
                self._must(timely, f"{event.group_id} outlives its campaign")
                book.groups[event.group_id] = Group(event.order_id, event.closes_at)
            case campaign.Claimed():
                self._claimed(campaign_id, book, event)
            case campaign.Confirmed():
                self._confirmed(book, event)
            case campaign.Unclaimed():
                self._unclaimed(book, event)
            case campaign.Reassigned():
                self._gave(book, event)
            case campaign.Unassigned():
                self._took_back(book, event)
            case campaign.GroupFormed():
                self._formed(book, event)
            case campaign.GroupFailed():
                self._failed(book, event)
            case campaign.Ended():
                self._must(not book.ended, f"{campaign_id} ended twice")
                book.ended = True
                for shelf in book.shelves.values():
                    _give_back(shelf)
        after = getattr(event, "after", None)
        if after is not None:
            self._compare(campaign_id, book, event, after)

    def _compare(self, campaign_id: str, book: Book, event: Any, after: campaign.After) -> None:
        """Available + held + sold + returned = set aside, per store, as the event says it."""
        name = f"{campaign_id} after {type(event).__name__}"
        for store_id, shelf in book.shelves.items():
            levels = (shelf.available, shelf.held, shelf.sold, shelf.returned, shelf.wanted)
            self._must(min(levels) >= 0, f"{name}: {store_id} oversells its quota: {shelf}")
            exact = sum(levels[:4]) == shelf.aside
            self._must(exact, f"{name}: {store_id} set {shelf.aside} aside and has {shelf}")
        for share in after.left:
            ours = book.shelves[share.store_id].available
            text = f"{name}: {share.store_id} has {ours} left, not {share.units}"
            self._must(ours == share.units, text)
        shelves = book.shelves.values()
        tally = campaign.Tally(
            sum(shelf.available for shelf in shelves), sum(shelf.held for shelf in shelves),
            sum(shelf.sold for shelf in shelves), sum(shelf.returned for shelf in shelves),
        )  # fmt: skip
        self._must(tally == after.tally, f"{name}: it tells {after.tally}, the facts {tally}")

    def _set(self, campaign_id: str, book: Book, event: campaign.QuotaSet) -> None:
        shelf = book.shelves[event.store_id]
        self._must(not shelf.aside, f"{event.store_id} set its quota aside twice")
        shelf.aside = shelf.available = event.units
        for sku, each in book.stock.items():
            kept = self._reserved[event.store_id, campaign_id, sku]
            self._must(kept == each * event.units, f"{event.store_id} keeps {kept} of {sku}")
        if book.ended:
            _give_back(shelf)

    def _claimed(self, campaign_id: str, book: Book, event: campaign.Claimed) -> None:
        terms, claim_id = book.terms, event.claim_id
        timely = terms.starts_at <= event.at < terms.ends_at and not book.ended
        self._must(timely, f"{claim_id} at {event.at:.4f}: {campaign_id} takes no orders then")
        known = book.claims.get(claim_id)
        again = known is None or known.state in ("gone", "failed")
        self._must(again, f"{claim_id} was claimed twice")
        parts = {part.store_id: part.units for part in event.parts}
        book.claims[claim_id] = Claim(event.order_id, event.customer_id, parts, event.group_id)
        for store_id, units in parts.items():
            shelf = book.shelves[store_id]
            if book.holds:
                shelf.available -= units
                shelf.held += units
            else:
                shelf.wanted += units
        limit = terms.limit_per_customer
        taken = sum(
            one.units
            for one in book.claims.values()
            if one.customer_id == event.customer_id and one.state in ("open", *SOLD)
        )
        text = f"{event.customer_id} has {taken} units of {campaign_id}, the limit is {limit}"
        self._must(not limit or taken <= limit, text)
        if event.group_id:
            self._seated(book, event)

    def _seated(self, book: Book, event: campaign.Claimed) -> None:
        group = book.groups[event.group_id]
        customers = [book.claims[name].customer_id for name in group.claims]
        group.claims.append(event.claim_id)
        self._must(len(group.claims) <= book.seats, f"{event.group_id} has more seats than it has")
        self._must(event.customer_id not in customers, f"{event.customer_id} has two seats")
        joinable = not group.outcome and event.at < group.closes_at
        self._must(joinable, f"{event.claim_id} joined {event.group_id}, which takes nobody")

    def _confirmed(self, book: Book, event: campaign.Confirmed) -> None:
        claim = book.claims[event.claim_id]
        fresh = claim.state == "open" and not claim.paid
        self._must(fresh, f"{event.claim_id} was paid while {claim}")
        claim.paid = True
        if book.holds:
            _move(book, claim, "held", "sold")
        if not claim.group_id:
            claim.state, claim.price = "sold", book.terms.price
            return
        paid = [name for name in book.groups[claim.group_id].claims if book.claims[name].paid]
        self._must(len(paid) <= book.seats, f"{claim.group_id}: more members paid than seats")
        seats = self._newcomers_seats(claim.customer_id)
        self._must(len(seats) <= 1, f"{claim.customer_id} is a newcomer in {seats}")

    def _newcomers_seats(self, customer_id: str) -> list[str]:
        """Groups for newcomers in which a customer has a paid seat and did not open them."""
        return [
            claim.group_id
            for book in self.books.values()
            if book.terms.group is not None and book.terms.group.kind == "newcomers"
            for claim in book.claims.values()
            if claim.customer_id == customer_id
            and claim.paid
            and claim.state in ("open", *SOLD)
            and book.groups[claim.group_id].order_id != claim.order_id
        ]

    def _unclaimed(self, book: Book, event: campaign.Unclaimed) -> None:
        claim = book.claims[event.claim_id]
        self._must(claim.state in ("open", *SOLD), f"{event.claim_id} given back while {claim}")
        self._must(not claim.shipped, f"{event.claim_id} was shipped and is given back")
        if claim.state == "open" and claim.group_id:
            book.groups[claim.group_id].claims.remove(event.claim_id)
        self._free(book, claim, "gone")

    def _formed(self, book: Book, event: campaign.GroupFormed) -> None:
        rule, group = book.terms.group, book.groups[event.group_id]
        assert rule is not None
        self._decided(book, event.group_id, "formed", event.order_ids)
        paid = [name for name in group.claims if book.claims[name].paid]
        self._must(len(paid) >= rule.size, f"{event.group_id} formed with {len(paid)} members")
        steps = [step.price for step in rule.steps if step.members <= len(paid)]
        price = steps[-1] if steps else book.terms.price
        text = f"{event.group_id}: {len(paid)} members cost {price} each, not {event.price}"
        self._must(price == event.price, text)
        left: set[str] = set()
        for moved in event.moved:
            claim = book.claims[moved.claim_id]
            self._must(claim.paid and not book.holds, f"{moved} is not open")
            _move(book, claim, "wanted")
            left.update(claim.parts)
            claim.parts = {moved.store_id: claim.units}
            book.shelves[moved.store_id].wanted += claim.units
        for store_id in left:
            if book.ended:
                _give_back(book.shelves[store_id])
        for name in group.claims:
            claim = book.claims[name]
            if not claim.paid:
                self._free(book, claim, "gone")
                continue
            claim.state, claim.price = "formed", price
            if not book.holds:
                _move(book, claim, "available", "sold")
                _move(book, claim, "wanted")

    def _failed(self, book: Book, event: campaign.GroupFailed) -> None:
        self._decided(book, event.group_id, "failed", event.order_ids)
        for name in book.groups[event.group_id].claims:
            self._free(book, book.claims[name], "failed")

    def _gave(self, book: Book, event: campaign.Reassigned) -> None:
        name = event.fulfilment_id
        self._must(name not in self._reassigned, f"{name} was reassigned twice")
        self._must(book.claims[event.claim_id].state in SOLD, f"{name} was never sold")
        self._must(event.share.units == self._units[name], f"{name} was given {event.share}")
        shelf = book.shelves[event.share.store_id]
        shelf.available -= event.share.units
        shelf.sold += event.share.units
        self._reassigned[name] = event.share

    def _took_back(self, book: Book, event: campaign.Unassigned) -> None:
        name = event.fulfilment_id
        share = self._reassigned.get(name)
        self._reassigned[name] = None
        if share is not None:
            shelf = book.shelves[share.store_id]
            shelf.sold -= share.units
            shelf.available += share.units
            if book.ended:
                _give_back(shelf)

    def _decided(self, book: Book, group_id: str, outcome: str, order_ids: Iterable[str]) -> None:
        group = book.groups[group_id]
        self._must(not group.outcome, f"{group_id} was {group.outcome} and is now {outcome}")
        group.outcome = outcome
        paid = {book.claims[name].order_id for name in group.claims if book.claims[name].paid}
        self._must(paid == set(order_ids), f"{group_id} tells {order_ids}, {paid} have paid")

    def _free(self, book: Book, claim: Claim, state: str) -> None:
        if not book.holds and claim.state == "open":
            _move(book, claim, "wanted")
        else:
            _move(book, claim, "sold" if claim.paid else "held", "available")
        claim.state = state
        if book.ended:
            for store_id in claim.parts:
                _give_back(book.shelves[store_id])

    # ---------------------------------------------------------------- stores

    def stock(self, store_id: str, event: Any) -> None:
        """A store set units aside, gave them back, or sold them."""
        campaign_id = event.campaign_id
        if isinstance(event, goods.QuotaSold):
            self._shipped(store_id, event)
            units = Counter({item.sku: 0 for item in event.items})
            for item in event.items:
                units[item.sku] -= item.quantity
        else:
            sign = -1 if isinstance(event, goods.QuotaGivenBack) else 1
            units = Counter({item.sku: sign * item.quantity for item in event.units})
        book = self.books[campaign_id]
        for sku, count in units.items():
            key = (store_id, campaign_id, sku)
            self._reserved[key] += count
            shelf = book.shelves[store_id]
            if not shelf.aside:  # the campaign has not heard of it yet
                continue
            # what the campaign gave back may still be on its way, what it sells may not
            least = shelf.aside - shelf.returned - shelf.shipped
            kept = self._reserved[key]
            text = f"{store_id} keeps {kept} of {sku} for {campaign_id}, {least} are its own"
            self._must(kept >= least * book.stock[sku], text)

    def reserved(self, store_id: str, sku: str) -> int:
        """Units that a store keeps for all campaigns."""
        return sum(
            units
            for (store, _campaign, name), units in self._reserved.items()
            if (store, name) == (store_id, sku)
        )

    def _shipped(self, store_id: str, event: goods.QuotaSold) -> None:
        name = event.fulfilment_id
        campaign_id, claim_id = self.claim_of.get(name, ("", ""))
        self._must(campaign_id == event.campaign_id, f"{name} is not of {event.campaign_id}")
        book = self.books[event.campaign_id]
        claim = book.claims[claim_id]
        self._must(claim.state in SOLD, f"{name} left the stock while its claim was {claim.state}")
        claim.shipped = True
        book.shelves[store_id].shipped += self._units[name]
        units: Counter[str] = Counter()
        for item in event.items:
            units[item.sku] += item.quantity
        due = {sku: each * self._units[name] for sku, each in book.stock.items()}
        self._must(dict(units) == due, f"{name} took {dict(units)} of its quota, {due} are due")

    def ticket(self, fulfilment_id: str) -> None:
        """A store got a ticket: what is paid but unformed cannot be shipped."""
        if fulfilment_id in self.claim_of:
            campaign_id, claim_id = self.claim_of[fulfilment_id]
            state = self.books[campaign_id].claims[claim_id].state
            self._must(state in SOLD, f"{fulfilment_id} got a ticket while its claim was {state}")

    # ---------------------------------------------------------------- orders and customers

    def seated(self, order_id: str, campaign_id: str, event: Any) -> None:
        """An order was placed, reinstated or reseated with a claim."""
        book = self.books[campaign_id]
        claim = book.claims.get(event.claim_id)
        if claim is None or claim.order_id != order_id:
            self._must(False, f"{order_id} has {event.claim_id}, which the campaign never gave")
            return
        self.current[order_id] = (campaign_id, event.claim_id)
        rule, group = book.terms.group, book.groups.get(claim.group_id)
        if rule is not None and group is not None and rule.kind == "newcomers":
            name = (claim.customer_id, order_id)
            joined = group.order_id != order_id  # anyone may open
            self._must(not joined or name in self._newcomers, f"{name} is no newcomer")
        parts: Counter[str] = Counter()
        for fulfilment in event.fulfilments:
            self.claim_of[fulfilment.fulfilment_id] = (campaign_id, event.claim_id)
            units = 0
            for line in event.lines:
                if line.fulfilment_id == fulfilment.fulfilment_id:
                    units += line.quantity
                    exact = line.amount == book.terms.price * line.quantity
                    self._must(exact, f"{line.line_id} costs {line.amount} in {campaign_id}")
            self._units[fulfilment.fulfilment_id] = units
            parts[fulfilment.store_id] += units
        self._must(dict(parts) == claim.parts, f"{order_id} has {dict(parts)}, claimed {claim}")

    def rerouted(self, order_id: str, event: orders.FulfilmentRerouted) -> None:
        """A part went to another store; if it is still of its campaign, for its units there."""
        old, new = event.fulfilment_id, event.to
        if not new.campaign_id:
            return
        share = self._reassigned.get(old)
        units = sum(line.quantity for line in event.lines)
        given = share is not None and (share.store_id, share.units) == (new.store_id, units)
        self._must(given, f"{order_id} took {units} at {new.store_id}, given were {share}")
        self.claim_of[new.fulfilment_id] = self.claim_of[old]
        self._units[new.fulfilment_id] = units

    def confirmed(self, order_id: str, event: orders.SeatConfirmed) -> int:
        """An order's units are sold for good. Returns what a unit costs now."""
        campaign_id, claim_id = self.current[order_id]
        claim = self.books[campaign_id].claims[claim_id]
        self._must(claim.state in SOLD, f"{order_id} goes to its stores, its claim is {claim}")
        return claim.price

    def customer(self, customer_id: str, event: Any) -> None:
        """A fact of a customer's record."""
        recorded = self._recorded.setdefault(customer_id, set())
        match type(event).__name__:
            case "NewcomerReserved":
                earlier = recorded - {event.order_id}
                self._must(not earlier, f"{customer_id} is a newcomer with {earlier}")
                self._newcomers.add((customer_id, event.order_id))
            case "OrderRecorded":
                recorded.add(event.order_id)
            case "OutcomeRecorded" if event.outcome == "void":
                recorded.discard(event.order_id)

    # ---------------------------------------------------------------- at the end

    @property
    def open(self) -> list[str]:
        """Campaigns that have not ended, or whose groups or claims are not decided."""
        return [
            name
            for name, book in self.books.items()
            if not book.ended
            or any(not group.outcome for group in book.groups.values())
            or any(claim.state == "open" for claim in book.claims.values())
        ]

    def final(self, views: Mapping[str, Any], books: Mapping[str, Any]) -> None:
        """Nothing is owed any more and every campaign is over: nothing is held, what was sold has
        left the stock, the rest is with its store. ``views`` by entity, ``books`` by order."""
        for campaign_id, book in self.books.items():
            for claim_id, claim in book.claims.items():
                self._must(claim.state != "open", f"{campaign_id} ended, {claim_id} is {claim}")
                self._settled(campaign_id, claim_id, claim, books.get(claim.order_id))
            for store_id, shelf in book.shelves.items():
                text = f"{campaign_id} sold {shelf.sold} of {store_id}, {shelf.shipped} left it"
                self._must(shelf.sold == shelf.shipped, text)
                kept = shelf.aside - shelf.returned - shelf.sold
                for sku, each in book.stock.items():
                    there = self._reserved[store_id, campaign_id, sku]
                    text = f"{store_id} keeps {there} of {sku} for {campaign_id}, it has {kept}"
                    self._must(there == kept * each, text)
                rest = shelf.available + shelf.held + shelf.wanted
                self._must(rest == 0, f"{campaign_id} ended with {shelf} of {store_id}")
            self._must(book.ended, f"{campaign_id} never ended")
            undecided = [name for name, group in book.groups.items() if not group.outcome]
            self._must(not undecided, f"{campaign_id} ended with groups {undecided}")
            self._same_view(campaign_id, book, views[f"campaign/{campaign_id}"])

    def _settled(self, campaign_id: str, claim_id: str, claim: Claim, book: Any) -> None:
        """What became of a claim, and of the money of its order."""
        mine = self.current.get(claim.order_id) == (campaign_id, claim_id)
        if claim.state in SOLD:
            self._must(mine and claim.shipped, f"{claim_id} is {claim.state}, not shipped")
            if claim.state == "formed":
                told = self.told[claim.order_id, "group-formed"]
                self._must(told == 1, f"{claim.order_id} was told {told} times that it formed")
        if claim.state != "failed" or not claim.paid or book is None or not mine:
            return
        taken = book.captured.get(book.kept, 0)
        back = sum(each.amount for each in book.refunds.values() if each.payment_id == book.kept)
        self._must(back == taken, f"{claim.order_id} of a failed group: {back} back of {taken}")
        told = self.told[claim.order_id, "group-failed"]
        wanted = 0 if book.cancelled_by == "customer" else 1
        self._must(told == wanted, f"{claim.order_id} was told {told} times that it failed")

    def _same_view(self, campaign_id: str, book: Book, view: Any) -> None:
        self._must(view.state == "ended" or not book.ended, f"{campaign_id} reads {view.state}")
        for row in view.quota:
            shelf = book.shelves[row.store_id]
            read = (row.set_aside, row.available, row.held, row.sold, row.returned)
            kept = (shelf.aside, shelf.available, shelf.held, shelf.sold, shelf.returned)
            self._must(read == kept, f"{campaign_id} reads {read} of {row.store_id}, has {kept}")
        outcomes = Counter(group.outcome for group in book.groups.values())
        read = (view.open_groups, view.formed_groups, view.failed_groups)
        kept = (outcomes[""], outcomes["formed"], outcomes["failed"])
        self._must(read == kept, f"{campaign_id} reads groups {read}, has {kept}")


def _move(book: Book, claim: Claim, level: str, to: str = "") -> None:
    for store_id, units in claim.parts.items():
        shelf = book.shelves[store_id]
        setattr(shelf, level, getattr(shelf, level) - units)
        if to:
            setattr(shelf, to, getattr(shelf, to) + units)


def _give_back(shelf: Shelf) -> None:
    """Of a campaign that is over: what no open group wants goes back to the store."""
    surplus = max(0, shelf.available - shelf.wanted)
    shelf.available -= surplus
    shelf.returned += surplus
