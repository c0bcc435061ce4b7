"""A rider's phone over HTTP: shift, position, offers, run, cash, inbox."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from domain.message import Command
from domain.rider import commands as rider
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
    PositionBody,
    Text,
    answer,
    seconds,
)  # fmt: skip
from orchestrator.api.show import show_cash, show_inbox, show_rider
from orchestrator.auth import Caller

__all__ = ["router"]

PARCEL = "/v1/riders/{rider_id}/parcels/{parcel_id}"
OFFER = "/v1/riders/{rider_id}/offers/{offer_id:path}"
"""A path: an older dispatch zone's id may hold slashes, and its offers are called by it."""


class ShiftBody(Body):
    """Come on shift. `capacity` in parcels; COD offers stop at `cash_limit` (minor units)."""

    dispatch_zone: Name
    vehicle: Name
    position: PositionBody
    capacity: Annotated[int, Field(ge=1, le=50)] = 3
    cash_limit: Money = 50_000
    ends_at: Moment | None = None


class PlaceOnEarthBody(Body):
    """Where the rider is."""

    position: PositionBody


class DeclineBody(Body):
    """Why not this one."""

    reason: Text = ""


class DeliverBody(Body):
    """Cash taken at the door; `cash_received - change` must be exactly what is due."""

    cash_received: Money = 0
    change: Money = 0


class FailBody(Body):
    """Why it could not be delivered."""

    reason: Literal["refused", "absent", "damaged", "address"]


class RemittanceBody(Body):
    """Cash handed in, as counted, and what the cashier saw as `owed`, both in minor units; `reason`
    for a difference between them."""

    amount: Money
    owed: Money
    reason: Text | None = None


NO_DECLINE = DeclineBody()
"""What an absent body stands for."""


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["riders"])
    _add_reads(routes, desk)
    _add_shift(routes, desk)
    _add_offers(routes, desk)
    _add_way(routes, desk)
    _add_door(routes, desk)
    return routes


def _add_reads(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/v1/riders/{rider_id}", responses=answers(models.Rider, examples.RIDER))
    async def read_rider(rider_id: str, caller: Authorised) -> Response:
        """Shift, run, open offer and cash. A rider nobody has heard of is `off`."""
        return answer(show_rider(await desk.read(f"rider/{rider_id}", rider.GetRider())))

    @routes.get(
        "/v1/riders/{rider_id}/inbox", responses=answers(models.InboxPage, examples.RIDER_INBOX)
    )
    async def read_inbox(
        rider_id: str,
        caller: Authorised,
        after: AfterOffset = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        epoch: Annotated[
            str, Query(max_length=64, description="What the offset counts in; `none`: a snapshot.")
        ] = "",
    ) -> Response:
        """The rider's inbox without a socket: messages after an offset, or a snapshot."""
        page = await desk.read(f"rider/{rider_id}", rider.ReadInbox(after, limit, epoch))
        return answer(show_inbox(page))


def _add_shift(routes: APIRouter, desk: Desk) -> None:
    @routes.post(
        "/v1/riders/{rider_id}/shift",
        responses=answers(
            models.Rider, examples.RIDER, "wrong-state", "unknown-zone", "remit-first"
        ),
    )
    async def start_shift(rider_id: str, body: ShiftBody, caller: Authorised, key: Key) -> Response:
        """Come on shift in a dispatch zone that some store has. Cash still held in a currency that
        no store there takes is handed in first."""
        currencies = await desk.need_zone(body.dispatch_zone)
        command = rider.StartShift(
            body.dispatch_zone, body.vehicle, body.position.as_position(), body.capacity,
            body.cash_limit, seconds(body.ends_at), currencies,
        )  # fmt: skip
        return await _act(desk, rider_id, f"shift:{key}", command)

    @routes.post(
        "/v1/riders/{rider_id}/shift/end",
        responses=answers(models.Rider, examples.RIDER, "run-not-empty", "wrong-state"),
    )
    async def end_shift(rider_id: str, caller: Authorised, key: Key) -> Response:
        """Go off shift, once the run is empty."""
        return await _act(desk, rider_id, f"shift-end:{key}", rider.EndShift())

    @routes.put(
        "/v1/riders/{rider_id}/position",
        status_code=202,
        responses=answers(None, None, status=202, description="Taken; it may be lost."),
    )
    async def move(rider_id: str, body: PlaceOnEarthBody, caller: Authorised) -> Response:
        """Where the rider is. Send it every few seconds; only the latest counts. It is told, not
        asked: `202` says that it was taken in, not that it was used. A position of a rider who is
        off shift is dropped without a word; `GET /v1/riders/{rider_id}` says who is on shift."""
        position = body.position.as_position()
        desk.service.runtime.tell(f"rider/{rider_id}", rider.MoveTo(position))
        return Response(status_code=202)


def _add_offers(routes: APIRouter, desk: Desk) -> None:
    @routes.post(
        f"{OFFER}/accept",
        responses=answers(models.Rider, examples.RIDER, "offer-gone", "wrong-state"),
    )
    async def accept(rider_id: str, offer_id: str, caller: Authorised, key: Key) -> Response:
        """Take the offer: its parcels join the run."""
        return await _act(desk, rider_id, f"accept:{key}", rider.AcceptOffer(offer_id))

    @routes.post(f"{OFFER}/decline", responses=answers(models.Rider, examples.RIDER, "offer-gone"))
    async def decline(
        rider_id: str, offer_id: str, caller: Authorised, key: Key, body: DeclineBody = NO_DECLINE
    ) -> Response:
        """Not this one; the next round goes on without this rider."""
        command = rider.DeclineOffer(offer_id, body.reason)
        return await _act(desk, rider_id, f"decline:{key}", command)


def _add_way(routes: APIRouter, desk: Desk) -> None:
    own = ("unknown-parcel", "wrong-state")

    @routes.post(f"{PARCEL}/arrive-at-store", responses=answers(models.Rider, examples.RIDER, *own))
    async def arrive_at_store(
        rider_id: str, parcel_id: str, caller: Authorised, key: Key
    ) -> Response:
        """At the counter."""
        command = rider.ArriveAtStore(parcel_id)
        return await _act(desk, rider_id, f"arrive-at-store:{key}", command)

    @routes.post(
        f"{PARCEL}/pick-up", responses=answers(models.Rider, examples.RIDER, *own, "wrong-rider")
    )
    async def pick_up(rider_id: str, parcel_id: str, caller: Authorised, key: Key) -> Response:
        """Take the parcel; the store must have it ready."""
        return await _act(desk, rider_id, f"pick-up:{key}", rider.PickUp(parcel_id))

    @routes.post(
        f"{PARCEL}/arrive-at-customer", responses=answers(models.Rider, examples.RIDER, *own)
    )
    async def arrive_at_customer(
        rider_id: str, parcel_id: str, caller: Authorised, key: Key
    ) -> Response:
        """At the door."""
        command = rider.ArriveAtCustomer(parcel_id)
        return await _act(desk, rider_id, f"arrive-at-customer:{key}", command)


def _add_door(routes: APIRouter, desk: Desk) -> None:
    own = ("unknown-parcel", "wrong-state")

    @routes.post(
        f"{PARCEL}/deliver", responses=answers(models.Rider, examples.RIDER, *own, "wrong-cash")
    )
    async def deliver(
        rider_id: str, parcel_id: str, body: DeliverBody, caller: Authorised, key: Key
    ) -> Response:
        """Handed to the customer, the exact cash taken."""
        command = rider.Deliver(parcel_id, body.cash_received, body.change)
        return await _act(desk, rider_id, f"deliver:{key}", command)

    @routes.post(f"{PARCEL}/fail", responses=answers(models.Rider, examples.RIDER, *own))
    async def fail(
        rider_id: str, parcel_id: str, body: FailBody, caller: Authorised, key: Key
    ) -> Response:
        """Not delivered: the parcel goes back to its store."""
        return await _act(desk, rider_id, f"fail:{key}", rider.Fail(parcel_id, body.reason))

    @routes.post(
        "/v1/riders/{rider_id}/remittances",
        status_code=201,
        responses=answers(
            models.RiderCash, examples.RIDER_CASH, "owed-changed", "nothing-to-remit",
            "reason-required", "unknown-currency", "unknown-rider", "foreign-resource",
            status=201, description="Recorded.",
        ),
    )  # fmt: skip
    async def remit(rider_id: str, body: RemittanceBody, caller: Authorised, key: Key) -> Response:
        """Cash handed in to a cashier, who is recorded: operations, or a store of the dispatch zone
        where the rider works or did last. Once another sum than `owed` is owed, nothing is booked.
        A difference needs a reason and becomes a document."""
        zone = await _zone_of(desk, caller)
        command = rider.Remit(
            f"remittance:{key}", body.amount, caller.name, body.reason or "", zone,
            body.owed,
        )  # fmt: skip
        view = await desk.ask(f"rider/{rider_id}", command, f"remittances:{key}")
        return answer(show_cash(view), 201)


async def _zone_of(desk: Desk, caller: Caller) -> str:
    """The dispatch zone of a store that calls; empty for operations."""
    if caller.role != "store":
        return ""
    await desk.need_store(caller.subject)
    return desk.service.views.stores[caller.subject].dispatch_zone


async def _act(desk: Desk, rider_id: str, command_id: str, command: Command) -> Response:
    return answer(show_rider(await desk.ask(f"rider/{rider_id}", command, command_id)))
