"""Acknowledging an inbox over HTTP, for networks that block WebSockets."""

from typing import Any

from fastapi import APIRouter, Response

from domain import rider, store
from domain.errors import Refused
from orchestrator import models
from orchestrator.api import examples
from orchestrator.api.desk import Desk
from orchestrator.api.openapi import answers
from orchestrator.api.plain import Authorised, Body, Key, Name, Offset, answer

__all__ = ["router"]


class AcknowledgementBody(Body):
    """The device has stored everything up to `offset`."""

    device_id: Name
    offset: Offset


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    answered = answers(models.Done, examples.DONE, "offset-ahead", "stale-connection")

    @routes.post(
        "/v1/stores/{store_id}/inbox/acknowledgements", responses=answered, tags=["tickets"]
    )
    async def acknowledge_store_inbox(
        store_id: str, body: AcknowledgementBody, caller: Authorised, key: Key
    ) -> Response:
        """A tablet without a socket has stored its inbox up to an offset. It becomes one of the
        store's devices, for which messages are kept. The newest connection of a device wins: a
        socket that it still has open is closed as superseded."""
        return await _acknowledge(desk, f"store/{store_id}", store, body)

    @routes.post(
        "/v1/riders/{rider_id}/inbox/acknowledgements", responses=answered, tags=["riders"]
    )
    async def acknowledge_rider_inbox(
        rider_id: str, body: AcknowledgementBody, caller: Authorised, key: Key
    ) -> Response:
        """A phone without a socket has stored its inbox up to an offset, as for a store."""
        return await _acknowledge(desk, f"rider/{rider_id}", rider, body)

    return routes


async def _acknowledge(desk: Desk, owner: str, kind: Any, body: AcknowledgementBody) -> Response:
    """Acknowledging twice is harmless: nothing is remembered of it but the offset."""
    device_id, connected_at = body.device_id, desk.service.clock.now()
    connection_id = f"http:{device_id}"
    acknowledge = kind.AcknowledgeInbox(device_id, connection_id, body.offset)
    try:
        await desk.ask(owner, acknowledge, "")
    except Refused as refused:
        if refused.code not in ("unknown-device", "stale-connection"):
            raise
        register = kind.RegisterDevice(
            device_id, connection_id, body.offset, connected_at=connected_at
        )
        await desk.ask(owner, register, "")
    return answer(models.Done(True))
