"""Payment providers' webhooks (hot): verified, then recorded by the order they are about."""

from fastapi import APIRouter

from domain.errors import DoorstepError, Refused
from domain.order import commands as order
from domain.order.ids import order_of_payment
from domain.payment import ProviderAnswer
from orchestrator import metrics, models
from orchestrator.api import examples
from orchestrator.api.desk import Desk, derived_id
from orchestrator.api.openapi import answers, declare_hot
from orchestrator.api.texts import check_body
from orchestrator.api.wire import Answer, Headers, HotRoute, Scope, json_answer
from orchestrator.logs import logger

__all__ = ["hot_routes", "router"]

log = logger(__name__)
RECEIVED = json_answer({"received": True})
NO_ORDER = frozenset({"unknown-order", "unknown-payment"})


def hot_routes(desk: Desk) -> list[HotRoute]:
    """Receiving, below FastAPI."""
    service = desk.service

    async def receive_webhook(scope: Scope, headers: Headers, body: bytes) -> Answer:
        """An event of a payment, signed by the provider. Send it again until the answer is 200;
        repeated, late and out-of-order events are expected."""
        name = scope["path"].rpartition("/")[2]
        verifier = service.providers.get(name)
        if verifier is None:
            raise Refused("unknown-provider", f"No provider {name!r} is set up here.")
        texts = {key.decode("latin-1"): value.decode("latin-1") for key, value in headers.items()}
        outcome = "failed"
        try:
            event = verifier.verify(body, texts, service.clock.now())
            check_body(body)
            await _record(desk, name, event, body)
            outcome = "done"
        except DoorstepError as error:
            outcome = error.code
            log.warning("webhook.refused", provider=name, code=error.code, detail=error.detail)
            raise
        finally:
            metrics.webhooks.labels(name, outcome).inc()
        return RECEIVED

    return [HotRoute("POST", "/v1/webhooks/{provider}", receive_webhook)]


def router(desk: Desk) -> APIRouter:
    """The hot route, declared."""
    routes = APIRouter(tags=["webhooks"])
    provider = {"name": "provider", "in": "path", "required": True, "schema": {"type": "string"}}
    declare_hot(
        routes,
        hot_routes(desk)[0],
        answers(
            models.Received, examples.RECEIVED, "unknown-provider", "bad-signature",
            "stale-webhook", "malformed-webhook", "unknown-order", "body-too-large", "busy",
            "gateway-busy", "outcome-unknown", "journal-away", description="Recorded, durably.",
        ),
        body=models.WebhookBody,
        body_example=examples.WEBHOOK,
        parameters=[provider],
    )  # fmt: skip
    return routes


async def _record(desk: Desk, provider: str, event: ProviderAnswer, body: bytes) -> None:
    """Give a payment's event to its order; answered only when the order has it durably.

    A refund's event needs no command: the order owes the refund to the provider and gets the
    outcome as the answer to that. Money that no order has is for operations to look at.
    """
    if event.refund_id:
        log.info("webhook.refund", provider=provider, refund_id=event.refund_id)
        desk.on_money(provider, event, False)
        return
    try:
        await _give_to_order(desk, provider, event, body)
    except Refused as refusal:
        if event.status == "captured" and refusal.code in NO_ORDER:
            log.error(
                "webhook.payment_without_order", provider=provider, payment_id=event.payment_id,
                amount=event.amount, currency=event.currency, reference=event.reference,
            )  # fmt: skip
            desk.on_money(provider, event, False)
        raise
    if event.status == "captured":
        desk.on_money(provider, event, True)


async def _give_to_order(desk: Desk, provider: str, event: ProviderAnswer, body: bytes) -> None:
    order_id = order_of_payment(event.payment_id)
    if order_id is None:
        raise Refused("unknown-payment", f"{event.payment_id} is no payment of ours.")
    command = order.RecordPayment(
        payment_id=event.payment_id,
        provider=provider,
        provider_reference=event.reference,
        status=event.status,
        amount=event.amount,
        currency=event.currency,
        event_id=event.event_id,
    )
    event_id = event.event_id or derived_id(body.decode("latin-1"))
    await desk.ask(f"order/{order_id}", command, f"webhook:{provider}:{event_id}")
