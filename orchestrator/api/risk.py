"""The gate over HTTP: queueing, challenges, blocklists (the gate itself is ``api.gate``)."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, Field, model_validator

from domain.ids import ID_CHARACTERS_MAX, ID_RULE, is_id
from domain.risk import commands as risk
from domain.risk.rules import check_block, entity_of_block
from domain.wire import moment
from orchestrator import models
from orchestrator.api import examples
from orchestrator.api.desk import Desk
from orchestrator.api.openapi import answers
from orchestrator.api.plain import (
    Authorised,
    Body,
    Key,
    Moment,
    Text,
    answer,
    page_answer,
    seconds,
)  # fmt: skip
from orchestrator.api.show import show_block, show_queue_place, show_risk_record

__all__ = ["router"]

Kind = Literal["customer", "phone", "device", "address"]


def _check_customer_id(customer_id: str) -> str:
    if not is_id(customer_id):
        raise ValueError(f"A customer needs an id of {ID_RULE}")
    return customer_id


CustomerId = Annotated[
    str, AfterValidator(_check_customer_id), Field(min_length=1, max_length=ID_CHARACTERS_MAX)
]


class QueueBody(Body):
    """For what a customer queues: `sku` or `campaign_id`, one of the two."""

    customer_id: CustomerId
    sku: Annotated[str, Field(max_length=128)] = ""
    campaign_id: Annotated[str, Field(max_length=128)] = ""

    @model_validator(mode="after")
    def _one_target(self) -> "QueueBody":
        if bool(self.sku) == bool(self.campaign_id):
            raise ValueError("Name a sku or a campaign_id, one of the two")
        return self


class ChallengeAnswerBody(Body):
    """The channel's word that its customer passed (`passed`: true), or the `code` that the customer
    was sent, as the challenge's `kind` says; anything else is a failed answer. Five end it."""

    customer_id: CustomerId
    passed: bool = False
    code: Annotated[str, Field(pattern="^[0-9]{0,12}$")] = ""


class BlockBody(Body):
    """Why, and until when; null: until it is removed."""

    why: Annotated[Text, Field(min_length=1)]
    until: Moment | None = None


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["risk"])
    _add_gate(routes, desk)
    _add_blocks(routes, desk)
    return routes


def _add_gate(routes: APIRouter, desk: Desk) -> None:
    gate = desk.gate

    @routes.post(
        "/v1/queue",
        responses=answers(
            models.QueuePlace, examples.QUEUE_PLACE, "unknown-sku", "unknown-campaign",
            "campaign-ended", "queue-not-required", "queue-full", "too-many-requests",
        ),
    )  # fmt: skip
    async def join_queue(
        request: Request, body: QueueBody, caller: Authorised, key: Key
    ) -> Response:
        """Queue for a SKU or campaign that is sold by the queue. Customers are let in at its rate;
        the token is good for one order, of this customer and target, in its time. Queueing again
        gives the same place."""
        headers = dict(request.scope["headers"])
        await gate.limit("queue", request.scope, headers, body.customer_id)
        token, target, admission = await gate.join(
            caller.subject, body.customer_id, body.sku, body.campaign_id, key
        )
        return answer(show_queue_place(token, target, admission))

    @routes.post(
        "/v1/risk/challenges/{challenge_id}/answers",
        responses=answers(
            models.Clearance, examples.CLEARANCE, "unknown-challenge", "challenge-expired",
            "challenge-failed",
        ),
    )  # fmt: skip
    async def answer_challenge(
        challenge_id: str, body: ChallengeAnswerBody, caller: Authorised, key: Key
    ) -> Response:
        """Answer a challenge. The clearance lets the customer's orders through for a while, unless
        they are denied."""
        clearance, expires_at = await gate.answer(
            caller.subject, body.customer_id, challenge_id, body.code, body.passed, key
        )
        return answer(models.Clearance(clearance, moment(expires_at)))


def _add_blocks(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/v1/risk/blocks", responses=answers(models.BlockPage, examples.BLOCK_PAGE))
    async def list_blocks(
        caller: Authorised, kind: Annotated[str, Query(max_length=16)] = ""
    ) -> Response:
        """Who may not order, a moment behind what was just set."""
        found = [one for one in desk.service.views.blocks.all() if kind in ("", one.kind)]
        return page_answer([show_block(one) for one in found], None)

    @routes.put(
        "/v1/risk/blocks/{kind}/{value:path}",
        responses=answers(models.Block, examples.BLOCK, "invalid-block"),
    )
    async def put_block(kind: Kind, value: str, body: BlockBody, caller: Authorised) -> Response:
        """Block a customer, phone (E.164), device or address (an IP address or network): their
        orders are denied before anything is locked."""
        block = risk.Block(kind, value, body.why, caller.name, seconds(body.until))
        check_block(block)
        await desk.change(f"risk/{entity_of_block(kind, value)}", risk.PutBlock(block))
        return answer(show_block(block))

    @routes.delete(
        "/v1/risk/blocks/{kind}/{value:path}",
        responses=answers(models.Done, examples.DONE, "unknown-block"),
    )
    async def remove_block(
        kind: Kind,
        value: str,
        caller: Authorised,
        why: Annotated[str, Query(max_length=500)] = "",
    ) -> Response:
        """Let them order again."""
        command = risk.RemoveBlock(caller.name, why)
        await desk.change(f"risk/{entity_of_block(kind, value)}", command)
        return answer(models.Done(True))

    @routes.get(
        "/v1/risk/customers/{customer_id}",
        responses=answers(models.RiskRecord, examples.RISK_RECORD),
    )
    async def read_record(customer_id: str, caller: Authorised) -> Response:
        """What was decided about a customer lately, and why."""
        record = await desk.read(f"risk/customer:{customer_id}", risk.GetRecord())
        return answer(show_risk_record(record))
