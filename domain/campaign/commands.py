"""Commands to one campaign (entity id = campaign id). DOMAIN, Group-buy and Flash sale.

The campaign is the lock authority for its quota: an order claims units and its seat here, in one
atomic step, and not at the stock, where the units were set aside before.
"""

from domain.message import Command, Value
from domain.waiting.model import QueueRule

__all__ = [
    "FLASH_SALE", "GROUP_BUY", "CheckPay", "Claim", "Confirm", "End", "Get", "GroupRule",
    "Open", "Reassign", "Share", "Step", "Terms", "Unassign", "Unclaim",
]  # fmt: skip

FLASH_SALE = "flash_sale"
GROUP_BUY = "group_buy"


class Share(Value):
    """Units of a campaign at one store."""

    store_id: str
    units: int


class Step(Value):
    """From so many ``members`` on, a ladder's unit costs ``price`` (minor units)."""

    members: int
    price: int


class GroupRule(Value):
    """How the groups of a group-buy work."""

    kind: str = "normal"
    """``normal | newcomers | ladder``."""
    size: int = 2
    """Members a group needs to form."""
    open_s: float = 86_400.0
    """A group that has not formed so long after its opening fails (a ladder closes)."""
    stock: str = "on_payment"
    """``on_payment``: a seat holds its units; ``on_formation``: units leave as groups form."""
    late: str = "refund"
    """What becomes of a member who paid when the seat was gone: ``refund | head_of_new_group``."""
    buffer: int = 0
    """``on_formation``: opening, joining and paying end when no more than so many units are left:
    they are for payments already under way."""
    steps: tuple[Step, ...] = ()
    """Of a ladder, ascending; the last one's members are the most that a group takes."""


class Terms(Value):
    """What a campaign promises; never changed once it is open. One sellable SKU at one price."""

    name: str
    kind: str
    """``flash_sale | group_buy``."""
    sku: str
    price: int
    """Minor units of ``currency``."""
    currency: str
    starts_at: float
    """Epoch seconds, exact to the millisecond: the first moment at which orders are taken."""
    ends_at: float
    """The first moment at which they no longer are."""
    quota: tuple[Share, ...]
    """Units asked of each store's stock."""
    limit_per_customer: int = 0
    """Units one customer may buy in the whole campaign; 0: no limit."""
    pay_s: float = 300.0
    """An unpaid order gives its units and seat back after so long."""
    channels: tuple[str, ...] = ()
    """Channels that may sell it; none named: all."""
    issuer: str = "platform"
    """Who bears the discount: ``platform | store``."""
    group: GroupRule | None = None
    """Of a group-buy."""
    queue: QueueRule | None = None
    """Its orders need a queue token, given out at this rate; None: they need none."""


class Open(Command, tag="campaign.open.v1"):
    """Announce the campaign and ask the stores for its quota. Reply: ``CampaignView``. Refused with
    ``campaign-exists`` or ``wrong-terms``, ``unknown-sku``."""

    terms: Terms
    by: str = ""


class Claim(Command, tag="campaign.claim.v1"):
    """From an order: units and, in a group-buy, a timed seat; all or nothing. Reply: ``Claimed``.

    ``stores`` are those that reach the customer, the preferred first. ``group_id`` joins a group,
    without one a new group is opened. ``late``: the money is there already, but the seat is gone.

    An order has one claim. Another one that it asked for before (``asked_at``: when first) and has
    not paid is given back, and this one is answered ``claimed-before``: to be asked again. One that
    comes after a younger one is refused with ``claimed-since``.
    """

    claim_id: str
    order_id: str
    customer_id: str
    channel: str
    quantity: int
    stores: tuple[str, ...]
    splits_max: int = 1
    group_id: str = ""
    late: bool = False
    asked_at: float = 0.0
    tiers: tuple[int, ...] = ()
    """Of the ``stores``; none named: all the same."""
    part_min: int = 1
    """Least units that one store of several may serve (Routing, rule 3)."""


class Confirm(Command, tag="campaign.confirm.v1"):
    """From the order: it is paid. Reply: ``Seating``; refused with ``seat-gone``."""

    claim_id: str


class Unclaim(Command, tag="campaign.unclaim.v1"):
    """From the order: it will not take its units; legal until they left the stock. Reply: True."""

    claim_id: str
    reason: str = ""
    asked_at: float = 0.0
    """Only the claim that was asked for by then; 0: whichever has the id."""


class Reassign(Command, tag="campaign.reassign.v1"):
    """From the order: the store of a part that was sold will not serve it. As many units of another
    store's share, the preferred first, for this part. Reply: ``Reassigned``, the same if it is
    asked again; refused with ``seat-gone`` or ``campaign-out-of-reach``."""

    claim_id: str
    fulfilment_id: str
    units: int
    stores: tuple[str, ...]


class Unassign(Command, tag="campaign.unassign.v1"):
    """From the order: the part has ended, or is served from normal stock. Units reassigned to it
    that the order never heard of are free again, and it gets none from now on. Reply: True."""

    claim_id: str
    fulfilment_id: str


class CheckPay(Command, tag="campaign.check_pay.v1"):
    """From the order, before a payment is opened: may this seat still be paid? Reply: True; refused
    with ``seat-gone`` or ``campaign-sold-out``."""

    claim_id: str


class End(Command, tag="campaign.end.v1"):
    """End it now: units nobody holds go back to the stores, open groups fail. Reply:
    ``CampaignView``."""

    by: str
    why: str = ""


class Get(Command, tag="campaign.get.v1"):
    """Read it. Reply: ``CampaignView``."""
