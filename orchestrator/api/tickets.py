"""A store's counter over HTTP: its tickets, pauses and inbox."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from domain.message import Command
from domain.store import commands as store
from domain.store.messages import Snapshot
from orchestrator import models
from orchestrator.api import examples
from orchestrator.api.desk import Desk
from orchestrator.api.openapi import answers
from orchestrator.api.plain import (
    AfterOffset,
    Authorised,
    Body,
    Key,
    Moment,
    Money,
    Name,
    SomeUnits,
    Text,
    Units,
    answer,
    page_answer,
    seconds,
)  # fmt: skip
from orchestrator.api.show import show_inbox, show_open_ticket, show_ticket

__all__ = ["router"]

TICKET = "/v1/stores/{store_id}/tickets/{fulfilment_id}"

Device = Annotated[str, Field(max_length=128, description="The tablet that is acting.")]

_decode_snapshot = msgspec.json.Decoder(Snapshot).decode


class DeviceBody(Body):
    """Which tablet acts."""

    device_id: Device = ""


class AcceptBody(DeviceBody):
    """Accept; `prep_s` if it will take another time than usual, in seconds."""

    prep_s: Annotated[int, Field(ge=0, le=86_400)] | None = None


class RejectBody(DeviceBody):
    """Why the store will not serve it: in words, and as `reason_code` if it is one of these."""

    reason: Annotated[Text, Field(min_length=1)]
    reason_code: Literal["", "items-missing", "too-busy", "closing", "trouble"] = ""


class PickBody(DeviceBody):
    """Units packed of the line; fewer than ordered is a short pick. `reason` says why. The others
    are not on the shelf and leave the stock: they are `missing`, or the customer did not want what
    was offered instead either (`substitute_refused`). Or they are there, and the customer does not
    want them (`unwanted`): they stay in stock, free to sell. All are refunded."""

    quantity: Units
    reason: Literal["missing", "substitute_refused", "unwanted"] = "missing"


class HandOverBody(DeviceBody):
    """The rider who takes the goods."""

    rider_id: Name


class CollectBody(DeviceBody):
    """The customer's one-time code; `cash` taken at the counter, minor units."""

    code: Annotated[str, Field(min_length=1, max_length=32)]
    cash: Money = 0


class HeldBackBody(DeviceBody):
    """Whether the goods of a cancelled order were held back, or had left."""

    held_back: bool


class DamagedBody(Body):
    """Units of a line that cannot be sold again."""

    line_id: Name
    quantity: SomeUnits


class ReturnedBody(DeviceBody):
    """Goods that came back and were checked."""

    damaged: list[DamagedBody] = Field(default_factory=list, max_length=1_000)


class PauseBody(Body):
    """Stop (or resume) taking orders; `until` null: until resumed."""

    paused: bool
    until: Moment | None = None
    reason: Text = ""


class PauseItemBody(Body):
    """Stop (or resume) selling one SKU here; `until` null: until resumed."""

    paused: bool
    until: Moment | None = None
    reason: Text = ""


NO_ACCEPT, NO_DEVICE, NO_RETURNED = AcceptBody(), DeviceBody(), ReturnedBody()
"""What an absent body stands for, where every member has a default."""


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["tickets"])
    _add_reads(routes, desk)
    _add_actions(routes, desk)
    _add_ends(routes, desk)
    _add_pauses(routes, desk)
    return routes


def _add_reads(routes: APIRouter, desk: Desk) -> None:
    @routes.get(
        "/v1/stores/{store_id}/tickets",
        responses=answers(models.TicketPage, examples.TICKET_PAGE, "unknown-store"),
    )
    async def list_tickets(store_id: str, caller: Authorised) -> Response:
        """Every open ticket, oldest first."""
        await desk.need_store(store_id)
        page = await desk.read(f"store/{store_id}", store.GetSnapshot())
        snapshot = _decode_snapshot(page.snapshot)
        return page_answer([show_open_ticket(ticket) for ticket in snapshot.tickets], None)

    @routes.get(TICKET, responses=answers(models.Ticket, examples.TICKET, "unknown-ticket"))
    async def read_ticket(store_id: str, fulfilment_id: str, caller: Authorised) -> Response:
        """One ticket, open or lately finished."""
        view = await desk.read(f"store/{store_id}", store.GetTicket(fulfilment_id))
        return answer(show_ticket(view))

    @routes.get(
        "/v1/stores/{store_id}/inbox",
        responses=answers(models.InboxPage, examples.STORE_INBOX),
    )
    async def read_inbox(
        store_id: str,
        caller: Authorised,
        after: AfterOffset = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        epoch: Annotated[
            str, Query(max_length=64, description="What the offset counts in; `none`: a snapshot.")
        ] = "",
    ) -> Response:
        """The store's inbox without a socket: messages after an offset, or a snapshot."""
        if caller.role == "store":
            desk.on_inbox_read(f"store/{store_id}")
        page = await desk.read(f"store/{store_id}", store.ReadInbox(after, limit, epoch))
        return answer(show_inbox(page))


def _add_actions(routes: APIRouter, desk: Desk) -> None:
    done = answers(models.Ticket, examples.TICKET, "unknown-ticket", "wrong-state")

    @routes.post(f"{TICKET}/accept", responses=done)
    async def accept(
        store_id: str,
        fulfilment_id: str,
        caller: Authorised,
        key: Key,
        body: AcceptBody = NO_ACCEPT,
    ) -> Response:
        """Accept a new ticket."""
        command = store.AcceptTicket(fulfilment_id, body.device_id, body.prep_s)
        return await _act(desk, store_id, f"accept:{key}", command)

    @routes.post(f"{TICKET}/reject", responses=done)
    async def reject(
        store_id: str, fulfilment_id: str, body: RejectBody, caller: Authorised, key: Key
    ) -> Response:
        """Refuse a ticket that is new or accepted: the next store is tried."""
        command = store.RejectTicket(fulfilment_id, body.reason, body.device_id, body.reason_code)
        return await _act(desk, store_id, f"reject:{key}", command)

    @routes.post(f"{TICKET}/picking", responses=done)
    async def start_picking(
        store_id: str,
        fulfilment_id: str,
        caller: Authorised,
        key: Key,
        body: DeviceBody = NO_DEVICE,
    ) -> Response:
        """Begin to pick."""
        command = store.StartPicking(fulfilment_id, body.device_id)
        return await _act(desk, store_id, f"picking:{key}", command)

    @routes.put(
        f"{TICKET}/lines/{{line_id:path}}",
        responses=answers(
            models.Ticket, examples.TICKET, "unknown-ticket", "unknown-line", "wrong-state"
        ),
    )
    async def pick_line(
        store_id: str,
        fulfilment_id: str,
        line_id: Annotated[str, Path(description="The line's id, its slash included.")],
        body: PickBody,
        caller: Authorised,
    ) -> Response:
        """Set how many units of a line are packed, and why the rest is not."""
        command = store.PickLine(
            fulfilment_id, line_id, body.quantity, body.device_id, body.reason
        )  # fmt: skip
        return answer(show_ticket(await desk.change(f"store/{store_id}", command)))


def _add_ends(routes: APIRouter, desk: Desk) -> None:
    own = ("unknown-ticket", "wrong-state")

    @routes.post(f"{TICKET}/ready", responses=answers(models.Ticket, examples.TICKET, *own))
    async def ready(
        store_id: str,
        fulfilment_id: str,
        caller: Authorised,
        key: Key,
        body: DeviceBody = NO_DEVICE,
    ) -> Response:
        """Packed. Lines never set count as fully packed. With nothing packed the ticket ends:
        `rejected`, and the next store is tried; or `cancelled` and refunded, if something was
        there and the customer did not want it."""
        command = store.MarkReady(fulfilment_id, body.device_id)
        return await _act(desk, store_id, f"ready:{key}", command)

    @routes.post(
        f"{TICKET}/hand-over",
        responses=answers(models.Ticket, examples.TICKET, *own, "wrong-rider"),
    )
    async def hand_over(
        store_id: str, fulfilment_id: str, body: HandOverBody, caller: Authorised, key: Key
    ) -> Response:
        """The goods leave with the assigned rider."""
        command = store.HandOver(fulfilment_id, body.rider_id, body.device_id)
        return await _act(desk, store_id, f"hand-over:{key}", command)

    @routes.post(
        f"{TICKET}/collect",
        responses=answers(
            models.Ticket, examples.TICKET, *own, "wrong-code", "code-locked", "wrong-cash"
        ),
    )
    async def collect(
        store_id: str, fulfilment_id: str, body: CollectBody, caller: Authorised, key: Key
    ) -> Response:
        """The customer collects with the one-time code, and pays if cash is due. A code is good
        once: what was collected already is refused, and nothing more is handed out."""
        command = store.Collect(fulfilment_id, body.code, body.cash, body.device_id)
        return await _act(desk, store_id, f"collect:{key}", command)

    @routes.post(f"{TICKET}/held-back", responses=answers(models.Ticket, examples.TICKET, *own))
    async def answer_cancel(
        store_id: str, fulfilment_id: str, body: HeldBackBody, caller: Authorised, key: Key
    ) -> Response:
        """Answer the customer's wish to cancel while the goods were being picked."""
        command = store.ConfirmHeldBack(fulfilment_id, body.held_back, body.device_id)
        return await _act(desk, store_id, f"held-back:{key}", command)

    @routes.post(
        f"{TICKET}/returned",
        responses=answers(models.Ticket, examples.TICKET, *own, "unknown-line"),
    )
    async def accept_return(
        store_id: str,
        fulfilment_id: str,
        caller: Authorised,
        key: Key,
        body: ReturnedBody = NO_RETURNED,
    ) -> Response:
        """Undelivered goods are back at the counter and checked."""
        damaged = tuple((line.line_id, line.quantity) for line in body.damaged)
        command = store.AcceptReturn(fulfilment_id, damaged, body.device_id)
        return await _act(desk, store_id, f"returned:{key}", command)


def _add_pauses(routes: APIRouter, desk: Desk) -> None:
    @routes.post(
        "/v1/stores/{store_id}/pause",
        responses=answers(models.Paused, examples.STORE_PAUSED, "unknown-store"),
    )
    async def pause_store(store_id: str, body: PauseBody, caller: Authorised, key: Key) -> Response:
        """Stop (or resume) taking orders."""
        await desk.need_store(store_id)
        command = store.PauseStore(body.paused, seconds(body.until), body.reason)
        await desk.ask(f"store/{store_id}", command, f"pause:{key}")
        return answer(models.Paused(store_id, None, body.paused, body.until))

    @routes.post(
        "/v1/stores/{store_id}/items/{sku:path}/pause",
        responses=answers(models.Paused, examples.ITEM_PAUSED),
    )
    async def pause_item(
        store_id: str, sku: str, body: PauseItemBody, caller: Authorised, key: Key
    ) -> Response:
        """Stop (or resume) selling one SKU here."""
        await desk.need_store(store_id)
        command = store.PauseItem(sku, body.paused, seconds(body.until))
        await desk.ask(f"store/{store_id}", command, f"pause-item:{key}")
        return answer(models.Paused(store_id, sku, body.paused, body.until))


async def _act(desk: Desk, store_id: str, command_id: str, command: Command) -> Response:
    return answer(show_ticket(await desk.ask(f"store/{store_id}", command, command_id)))
