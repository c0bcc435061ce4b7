"""What nothing explains: one finding, and the comparisons of documents that every verdict makes."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from orchestrator.client import money
from orchestrator.models import Campaign, Cell, LedgerCell, Order, Reconciliation

__all__ = [
    "Finding", "campaign_open", "missed_tickets", "money_mismatch", "open_refunds", "order_stuck",
    "stock_by_documents", "unexplained_books",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that nothing explains: a stable ``kind``, what it is about, a text for people."""

    kind: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: {self.text}"


def order_stuck(order: Order) -> Iterator[Finding]:
    """An order that should be final by now, and is not."""
    if order.state not in money.FINAL_STATES:
        parts = ", ".join(f"{p.fulfilment_id} {p.state}" for p in order.fulfilments)
        yield Finding("order-stuck", order.order_id, f"is still {order.state} ({parts})")


def open_refunds(order: Order) -> Iterator[Finding]:
    """Money that was to go back and did not."""
    waiting = [refund.refund_id for refund in order.refunds if refund.state != "done"]
    if waiting:
        yield Finding("refund-open", order.order_id, f"not refunded: {', '.join(waiting)}")


def money_mismatch(order: Order) -> Iterator[Finding]:
    """A final order that keeps more or less than what its customer has is worth."""
    kept, worth = money.kept(order), money.worth(order)
    if kept != worth:
        yield Finding(
            "money-mismatch", order.order_id,
            f"keeps {kept} for goods and freight worth {worth} ({order.state}, "
            f"captured {money.captured(order)}, refunded {money.refunded(order)}, "
            f"cash {order.cash_collected})",
        )  # fmt: skip


def stock_by_documents(subject: str, cell: Cell, row: LedgerCell | None) -> Iterator[Finding]:
    """A stock cell that is not what the documents add up to; without a row they say nothing of it:
    it must be empty."""
    for name in ("on_hand", "locked", "damaged"):
        documents, stock = 0 if row is None else getattr(row, name), getattr(cell, name)
        if documents != stock:
            yield Finding(
                "ledger-stock-mismatch", subject,
                f"documents say {name} {documents}, the cell {stock}",
            )  # fmt: skip


def missed_tickets(order: Order, shown: Mapping[str, Container[str]]) -> Iterator[Finding]:
    """Fulfilments that were worked on though no ticket of theirs showed on their store's tablet.
    ``shown``: store to the fulfilments that its tablet has shown."""
    for part in order.fulfilments:
        if part.state in money.WITH_TICKET and part.fulfilment_id not in shown.get(
            part.store_id, ()
        ):
            yield Finding(
                "ticket-missed", part.fulfilment_id,
                f"never showed on the tablet of {part.store_id}",
            )  # fmt: skip


def campaign_open(subject: str, campaign: Campaign) -> Iterator[Finding]:
    """A campaign that goes on, or still has units for somebody, after everybody has gone."""
    units = campaign.units
    if campaign.state != "ended" or units.held or units.available:
        yield Finding(
            "campaign-open", subject,
            f"is {campaign.state}, {units.held} held and {units.available} available",
        )  # fmt: skip


def unexplained_books(reconciliation: Reconciliation) -> Iterator[Finding]:
    """What the service's own reconciliation lists, over its whole ledger."""
    for difference in reconciliation.differences:
        about = {k: v for k, v in difference.items() if k not in ("check", "expected", "found")}
        yield Finding(
            "books-unexplained", str(difference.get("check", "")),
            f"{about}: {difference.get('expected')} expected, {difference.get('found')} found",
        )  # fmt: skip
    if not reconciliation.balanced and not reconciliation.differences:
        yield Finding("books-unexplained", "ledger", "is not balanced and does not say why")
