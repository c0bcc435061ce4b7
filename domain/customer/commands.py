"""Commands to one customer's short record (entity id = customer id): what COD rules need."""

from msgspec import Struct

from domain.message import Command

__all__ = [
    "CheckCod", "CheckNewcomer", "GetStanding", "RecordOrder", "RecordOutcome", "Standing",
]  # fmt: skip


class CheckCod(Command, tag="customer.check_cod.v1"):
    """May this order be cash on delivery? Reply True; refused with ``cod-denied`` and the rule.
    Reserves one open COD order for ``order_id`` (idempotent)."""

    order_id: str
    refusals_max: int
    open_max: int


class CheckNewcomer(Command, tag="customer.check_newcomer.v1"):
    """Is this customer's first order ``order_id``? Reply True; refused with ``not-newcomer``.
    Reserves the privilege for the order (idempotent); asked again, for longer."""

    order_id: str
    until: float = 0.0
    """The reservation ends then, unless the order is recorded; 0: after ``RESERVED_S``."""
    instead_of: str = ""
    """The claim that the order let expire, if it comes back for another: word that the old one came
    to nothing may still be under way, and does not end the new reservation."""


class RecordOrder(Command, tag="customer.record_order.v1"):
    """From the order: placed and confirmed."""

    order_id: str
    cod: bool


class RecordOutcome(Command, tag="customer.record_outcome.v1"):
    """From the order: ``completed | cancelled | refused`` (refused at the door, COD) ``| void`` (of
    a campaign, and it came to nothing: it never counted) ``| expired`` (it held stock and was not
    paid in time) ``| abandoned`` (it held stock, and the customer cancelled it unpaid) ``| lapsed``
    (it could no longer be paid, which was not the customer's doing)."""

    order_id: str
    outcome: str
    claim_id: str = ""
    """Which of the order's claims came to nothing, if it is ``void``."""
    held_s: float = 0.0
    """For how long it held stock, if it is ``abandoned``."""


class GetStanding(Command, tag="customer.get_standing.v1"):
    """How has this customer behaved? Reply: ``Standing``."""


class Standing(Struct, frozen=True, array_like=True, tag="customer.standing.v1", gc=False):
    """A reply. ``orders``: ever confirmed; ``expired``: let expire unpaid within the last 7 days;
    ``refusals``: cash deliveries refused at the door; ``abandoned``: cancelled unpaid within the
    last 7 days, corrected carts apart (see ``domain.customer.state.abandoned``)."""

    orders: int
    expired: int
    refusals: int
    abandoned: int = 0

    @property
    def left_unpaid(self) -> int:
        """Orders that held stock for nothing, whether they expired or were abandoned."""
        return self.expired + self.abandoned

    @property
    def unpaid_share(self) -> float:
        """Of those left unpaid and all that were ever confirmed, 0 to 1."""
        counted = self.orders + self.left_unpaid
        return self.left_unpaid / counted if counted else 0.0
