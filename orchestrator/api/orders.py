"""Orders over HTTP: place (hot), read, pay, cancel; refund and mend for operations."""

from collections.abc import Coroutine
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from msgspec import Meta, Struct
from pydantic import Field

from domain.bounds import TOTAL_MAX
from domain.errors import Refused
from domain.geo import Position
from domain.ids import ID_CHARACTERS_MAX, ID_RULE, is_id
from domain.order import commands as order
from domain.order.views import OrderView
from orchestrator import models
from orchestrator.api import examples
from orchestrator.api.desk import Desk, checked_key, order_id_of, payment_id_of
from orchestrator.api.gate import Wish
from orchestrator.api.openapi import answers, declare_hot
from orchestrator.api.plain import (
    After,
    Authorised,
    Body,
    Key,
    Limit,
    Name,
    SomeUnits,
    Text,
    answer,
    page_answer,
    whole,
)  # fmt: skip
from orchestrator.api.show import show_order, show_order_row, show_payment_opened, show_row
from orchestrator.api.wire import (
    Answer,
    Headers,
    HotRoute,
    Scope,
    decoded,
    json_answer,
    require_json,
)  # fmt: skip
from orchestrator.auth import Caller

__all__ = ["PlaceBody", "hot_routes", "router"]

PLACE = "POST /v1/orders"
OrderState = Literal[
    "placed", "paid", "cod_confirmed", "cancelling", "completed", "cancelled", "closed"
]
"""States by which orders are looked for."""
GATE_CODES = (
    "queue-token-missing", "queue-token-invalid", "queue-token-foreign", "queue-token-early",
    "queue-token-expired", "queue-token-used", "challenge-required", "risk-denied",
    "too-many-requests",
)  # fmt: skip

ShortText = Annotated[str, Meta(max_length=128)]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
LINES_MAX = 1_000


class CustomerBody(Struct, frozen=True, gc=False):
    """Who orders. ``customer_id`` stands in paths: no blanks nor / ? # %, not . or .. alone.
    ``phone`` is E.164."""

    customer_id: Annotated[str, Meta(min_length=1, max_length=ID_CHARACTERS_MAX)]
    name: ShortText = ""
    phone: Annotated[str, whole(r"(\+[1-9][0-9]{4,14})?")] = ""


class LineBody(Struct, frozen=True, gc=False):
    """Units of one SKU. Lines of the same SKU are added up."""

    sku: Id
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)]


class CoordinatesBody(Struct, frozen=True, gc=False):
    """WGS 84, degrees."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]


class AddressBody(Struct, frozen=True, gc=False):
    """Where to deliver."""

    position: CoordinatesBody
    text: Annotated[str, Meta(max_length=500)] = ""


class PlaceBody(Struct, frozen=True, gc=False):
    """An order to place. ``delivery`` needs ``address``, ``pickup`` needs ``store_id``.

    ``expected_total``, when given, must equal the total (minor units), else nothing is placed.
    ``partial_ok``: what is not in stock may be left out. ``store_id`` with delivery: only there.
    ``campaign_id``: at that campaign's price, its SKU alone, all its units or none, paid online; of
    a group-buy ``group_id`` joins a group, without one a new group is opened. ``queue_token``: of
    the waiting room, where the SKU or campaign has one. ``clearance``: of a challenge that was
    passed.
    """

    customer: CustomerBody
    lines: Annotated[list[LineBody], Meta(min_length=1, max_length=LINES_MAX)]
    currency: Annotated[str, whole("[A-Z]{3}")]
    delivery: Literal["delivery", "pickup"] = "delivery"
    address: AddressBody | None = None
    payment: Literal["online", "cod"] = "online"
    store_id: ShortText = ""
    partial_ok: bool = False
    expected_total: Annotated[int, Meta(ge=0, le=TOTAL_MAX)] | None = None
    note: Annotated[str, Meta(max_length=500)] = ""
    campaign_id: ShortText = ""
    group_id: ShortText = ""
    queue_token: Annotated[str, Meta(max_length=1_024)] = ""
    clearance: Annotated[str, Meta(max_length=1_024)] = ""


class PaymentBody(Body):
    """Which provider shall collect."""

    provider: Annotated[Name, Field(examples=["sandbox"])]


class CancelBody(Body):
    """Why the order is cancelled."""

    reason: Annotated[Text, Field(min_length=1, examples=["changed my mind"])]


class RefundUnitsBody(Body):
    """Units of one line."""

    line_id: Name
    quantity: SomeUnits


class RefundBody(Body):
    """Units to refund without goods coming back."""

    units: Annotated[list[RefundUnitsBody], Field(min_length=1, max_length=LINES_MAX)]
    reason: Annotated[Text, Field(min_length=1)]


class RerouteBody(Body):
    """Where a parked fulfilment shall go; no ``store_id``: to the best candidate."""

    why: Annotated[Text, Field(min_length=1)]
    store_id: Annotated[str, Field(max_length=128)] | None = None


class RemedyBody(Body):
    """Why operations does it; kept with the document."""

    why: Annotated[Text, Field(min_length=1)]


def hot_routes(desk: Desk) -> list[HotRoute]:
    """Placing, below FastAPI."""
    decode = msgspec.json.Decoder(PlaceBody).decode
    caller_of = desk.access.caller_at
    gate, views, clock = desk.gate, desk.service.views, desk.service.clock

    def place(scope: Scope, headers: Headers, content: bytes) -> Coroutine[Any, Any, Answer]:
        """Place an order: priced, routed and its stock locked, all durable, or refused whole.

        The order's id follows from channel and Idempotency-Key, so a retry finds the same order;
        with a queue token it follows from that, so a token is good for one order.
        """
        caller = caller_of(PLACE, headers)
        key = checked_key(headers.get(b"idempotency-key", b"").decode("latin-1"))
        require_json(headers)
        body: PlaceBody = decoded(decode, content)
        if not is_id(body.customer.customer_id):
            raise _invalid("customer.customer_id", f"A customer needs an id of {ID_RULE}.")
        if body.campaign_id and not body.queue_token:
            gone = views.campaigns.get(body.campaign_id)
            if gone is not None and not gone.remaining:  # the rush after the last unit ends here
                gone.check(order_id_of(caller.subject, key), caller.subject, clock.now())
        return admitted(caller.subject, key, body, scope, headers)

    async def admitted(
        channel: str, key: str, body: PlaceBody, scope: Scope, headers: Headers
    ) -> Answer:
        wish = _wish(channel, key, body)
        order_id = await gate.admit(wish, scope, headers)
        if body.campaign_id:  # sold out, too early or too late is answered here, without a hop
            views.campaign(body.campaign_id).check(order_id, channel, clock.now())
        command = _place_command(channel, body)
        view = await gate.passed(wish, desk.place(order_id, command, f"place:{key}"))
        desk.remember_channel(order_id, channel)
        location = (b"location", f"/v1/orders/{order_id}".encode())
        return json_answer(show_order(view), 201, location)

    return [HotRoute("POST", "/v1/orders", place)]


def router(desk: Desk) -> APIRouter:
    """All routes of orders."""
    routes = APIRouter(tags=["orders"])
    service = desk.service
    declare_hot(
        routes,
        hot_routes(desk)[0],
        answers(
            models.Order, examples.ORDER, "unknown-sku", "unknown-store", "no-zone",
            "no-store-open", "short-stock",
            "wrong-total", "wrong-currency", "cod-denied", "unknown-campaign", "unknown-group",
            "campaign-not-started", "campaign-ended", "campaign-sold-out",
            "campaign-out-of-reach", "campaign-lines", "campaign-online", "customer-limit",
            "group-full", "group-closed", "already-member", "not-newcomer", "wrong-channel",
            *GATE_CODES,
            status=201,
            description="Placed.", headers={"location": "The order's address."},
        ),
        status=201,
        body=PlaceBody,
        body_example=examples.PLACE,
        key_needed=True,
    )  # fmt: skip

    @routes.get(
        "/v1/orders",
        responses=answers(models.OrderPage, examples.ORDER_PAGE, "bad-cursor", "ledger-away"),
    )
    async def list_orders(
        caller: Authorised,
        state: Annotated[OrderState | None, Query()] = None,
        customer_id: Annotated[str, Query(max_length=128)] = "",
        store_id: Annotated[str, Query(max_length=128)] = "",
        channel: Annotated[str, Query(max_length=128, description="Operations only.")] = "",
        phone_ending: Annotated[
            str, Query(pattern="^([0-9]{4})?$", description="Last four digits. Operations only.")
        ] = "",
        rider_id: Annotated[str, Query(max_length=128, description="Operations only.")] = "",
        after: After = "",
        limit: Limit = 100,
    ) -> Response:
        """Orders, newest first; a moment behind what just happened. A channel sees its own."""
        page = await service.books.orders(
            state=state or "",
            customer_id=customer_id,
            store_id=store_id,
            channel=caller.subject if caller.role == "channel" else channel,
            phone_ending="" if caller.role == "channel" else phone_ending,
            rider_id="" if caller.role == "channel" else rider_id,
            after=after,
            limit=limit,
        )
        return page_answer([show_order_row(row) for row in page.rows], page.after)

    @routes.get(
        "/v1/orders/{order_id}",
        responses=answers(models.Order, examples.ORDER, "unknown-order", "ledger-away"),
    )
    async def read_order(order_id: str, caller: Authorised) -> Response:
        """An order, open or closed."""
        return answer(await _read(desk, caller, order_id))

    @routes.get(
        "/v1/orders/{order_id}/history",
        responses=answers(
            models.HistoryPage, examples.HISTORY_PAGE, "unknown-order", "ledger-away"
        ),
    )
    async def read_history(order_id: str, caller: Authorised) -> Response:
        """The order's events and documents in order; a moment behind what just happened."""
        await _own(desk, caller, order_id)
        rows = await service.books.order_history(order_id)
        if not rows:
            await _read(desk, caller, order_id)  # refuses what nobody knows
        return page_answer([show_row(row) for row in rows], None)

    @routes.post(
        "/v1/orders/{order_id}/payments",
        status_code=201,
        responses=answers(
            models.PaymentOpened, examples.PAYMENT_OPENED, "unknown-order", "unknown-provider",
            "wrong-state", "expired", "seat-gone", "campaign-sold-out", status=201,
            description="Opened; the provider is called next.",
        ),
    )  # fmt: skip
    async def open_payment(
        order_id: str, body: PaymentBody, caller: Authorised, key: Key
    ) -> Response:
        """Open a payment at a provider. Send the customer to `pay_url`."""
        if body.provider not in service.providers:
            raise Refused(
                "unknown-provider",
                f"Use one of: {', '.join(sorted(service.providers)) or 'none is set up'}.",
            )
        await _own(desk, caller, order_id)
        payment_id = payment_id_of(order_id, key)
        view = await desk.ask(
            f"order/{order_id}", order.StartPayment(payment_id, body.provider), f"payments:{key}"
        )
        pay_url = _pay_url(service.providers[body.provider], body.provider, view.payment_id)
        return answer(show_payment_opened(view, pay_url), 201)

    @routes.post(
        "/v1/orders/{order_id}/cancel",
        responses=answers(
            models.Order, examples.ORDER, "unknown-order", "wrong-state", "already-left"
        ),
    )
    async def cancel_order(
        order_id: str, body: CancelBody, caller: Authorised, key: Key
    ) -> Response:
        """Cancel the whole order: at once before picking; later the state is `cancelling` until
        the store has said whether the goods could be held back."""
        await _own(desk, caller, order_id)
        by = "customer" if caller.role == "channel" else caller.name
        command = order.Cancel(body.reason, by)
        return answer(_shown(await desk.ask(f"order/{order_id}", command, f"cancel:{key}")))

    _add_remedies(routes, desk)
    return routes


def _add_remedies(routes: APIRouter, desk: Desk) -> None:
    @routes.post(
        "/v1/orders/{order_id}/refunds",
        responses=answers(
            models.Order, examples.ORDER, "unknown-order", "unknown-line", "wrong-state",
            "refund-exceeds",
        ),
    )  # fmt: skip
    async def refund(order_id: str, body: RefundBody, caller: Authorised, key: Key) -> Response:
        """Refund units without goods: exactly what they cost, by the provider that took it."""
        units = tuple(order.RefundUnits(unit.line_id, unit.quantity) for unit in body.units)
        command = order.RefundLines(f"refund:{key}", units, body.reason, caller.name)
        return answer(_shown(await desk.ask(f"order/{order_id}", command, f"refunds:{key}")))

    @routes.post(
        "/v1/orders/{order_id}/fulfilments/{fulfilment_id}/reroute",
        responses=answers(
            models.Order, examples.ORDER, "unknown-order", "unknown-fulfilment", "wrong-state",
            "short-stock", "unknown-store",
        ),
    )  # fmt: skip
    async def reroute(
        order_id: str, fulfilment_id: str, body: RerouteBody, caller: Authorised, key: Key
    ) -> Response:
        """Try a parked fulfilment again, at one store or at the best candidate."""
        command = order.Reroute(fulfilment_id, body.store_id or "", caller.name, body.why)
        return answer(_shown(await desk.ask(f"order/{order_id}", command, f"reroute:{key}")))

    @routes.post(
        "/v1/orders/{order_id}/fulfilments/{fulfilment_id}/close",
        responses=answers(
            models.Order, examples.ORDER, "unknown-order", "unknown-fulfilment", "wrong-state"
        ),
    )
    async def close(
        order_id: str, fulfilment_id: str, body: RemedyBody, caller: Authorised, key: Key
    ) -> Response:
        """Give a parked fulfilment up: it is cancelled and refunded."""
        command = order.CloseParked(fulfilment_id, caller.name, body.why)
        return answer(_shown(await desk.ask(f"order/{order_id}", command, f"close:{key}")))

    @routes.post(
        "/v1/orders/{order_id}/flags/{payment_id}/resolve",
        responses=answers(models.Order, examples.ORDER, "unknown-order", "unknown-flag"),
    )
    async def resolve_flag(
        order_id: str, payment_id: str, body: RemedyBody, caller: Authorised, key: Key
    ) -> Response:
        """Close a flag: of a payment that did not match, or (by its fulfilment's id) of cash that
        was not what was due. A difference of cash is booked as one, with who and why."""
        command = order.ResolveFlag(payment_id, caller.name, body.why)
        return answer(_shown(await desk.ask(f"order/{order_id}", command, f"resolve:{key}")))

    @routes.post(
        "/v1/orders/{order_id}/refunds/{refund_id:path}/retry",
        responses=answers(
            models.Order, examples.ORDER, "unknown-order", "unknown-refund", "wrong-state"
        ),
    )
    async def retry_refund(
        order_id: str, refund_id: str, body: RemedyBody, caller: Authorised, key: Key
    ) -> Response:
        """Ask the provider again for a refund that it refused. It is made once at most: the
        provider knows it by the same id."""
        command = order.RetryRefund(refund_id, caller.name, body.why)
        return answer(_shown(await desk.ask(f"order/{order_id}", command, f"retry-refund:{key}")))


def _wish(channel: str, key: str, body: PlaceBody) -> Wish:
    return Wish(
        channel, key, body.customer.customer_id, body.customer.phone,
        tuple([line.sku for line in body.lines]), body.campaign_id, body.queue_token,
        body.clearance,
    )  # fmt: skip


def _place_command(channel: str, body: PlaceBody) -> order.Place:
    customer, address = body.customer, body.address
    if body.delivery == "delivery" and address is None:
        raise _invalid("address", "A delivery needs an address.")
    if body.delivery == "pickup" and not body.store_id:
        raise _invalid("store_id", "A pick-up needs a store_id.")
    return order.Place(
        channel=channel,
        customer=order.Customer(customer.customer_id, customer.name, customer.phone),
        lines=tuple([order.PlaceLine(line.sku, line.quantity) for line in body.lines]),
        currency=body.currency,
        delivery=body.delivery,
        address=None
        if address is None
        else order.Address(Position(address.position.lat, address.position.lon), address.text),
        payment=body.payment,
        store_id=body.store_id,
        partial_ok=body.partial_ok,
        expected_total=body.expected_total,
        note=body.note,
        campaign_id=body.campaign_id,
        group_id=body.group_id,
    )


async def _read(desk: Desk, caller: Caller, order_id: str) -> models.Order:
    """From the order itself, or from the books when it has left the actors' memory for good."""
    try:
        shown = _shown(await desk.read(f"order/{order_id}", order.Get()))
    except Refused as error:
        row = await desk.service.books.order(order_id) if error.code == "unknown-order" else None
        if row is None:
            raise
        shown = show_order_row(row)
    desk.access.own_order(caller, order_id, shown.channel)
    desk.remember_channel(order_id, shown.channel)
    return shown


async def _own(desk: Desk, caller: Caller, order_id: str) -> None:
    """Refuses a channel another channel's order, before any command is sent to it."""
    if caller.role != "channel":
        return
    channel = desk.channel_of(order_id)
    if channel is None:
        await _read(desk, caller, order_id)
    else:
        desk.access.own_order(caller, order_id, channel)


def _shown(view: OrderView) -> models.Order:
    return show_order(view)


def _pay_url(provider: Any, name: str, payment_id: str) -> str | None:
    made = getattr(provider, "pay_url", None)
    if made is not None:
        return str(made(payment_id))
    return f"/sandbox/pay/{payment_id}" if name == "sandbox" else None


def _invalid(field: str, message: str) -> Refused:
    return Refused("invalid-request", message, errors=[{"field": field, "message": message}])
