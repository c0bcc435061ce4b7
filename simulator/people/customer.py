"""A customer: orders, pays (or does not), changes their mind, watches, comes to collect."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.client import DoorstepClient, ProblemError, Refusal, models
from orchestrator.client.money import FINAL_STATES
from simulator.day import Day
from simulator.plan import OrderPlan, chance
from simulator.world import Handed, Trace

__all__ = ["Customer"]

LOOK_EVERY_S = 60.0
"""Service seconds between two looks at an order that is waited for."""
LOOK_EVERY_REAL_S_MIN = 0.5
PAGE_TRIES = 60
"""A payment page may come up a moment after the payment was opened: the provider is told later."""
TO_THE_SHOP_S = 600.0
CAMPAIGN_TRIES = 4
"""How often somebody presses the button of a campaign."""
WORTH_ANOTHER_TRY = frozenset({
    "already-member", "campaign-not-started", "campaign-sold-out", "group-closed", "group-full",
    "unknown-campaign", "unknown-group",
})  # fmt: skip
"""Refusals that another moment, or another group, may spare them."""


class Customer:
    """Lives one planned order. ``live`` returns when the customer has nothing left to do; what
    happens in the end is for the audit."""

    def __init__(self, plan: OrderPlan, day: Day) -> None:
        self._plan = plan
        self._day = day
        self._clock = day.clock
        self._trace: Trace = day.world.traces[plan.key]
        self._draw = chance(day.plan.seed, "living", plan.key)
        self._shop: DoorstepClient = day.client("channel", plan.channel)

    async def live(self) -> None:
        """From wanting something to having it, or not."""
        await self._clock.sleep_until(self._day.at(self._plan.at_s))
        self._trace.wanted_at = self._clock.now()
        order = await self._place()
        if order is None:
            return
        if self._plan.watches:
            self._day.look_on(self._watch(order))
        async with asyncio.TaskGroup() as doings:
            if order.payment == "online":
                doings.create_task(self._pay(order))
            if self._plan.cancels:
                doings.create_task(self._cancel(order))
            if self._plan.delivery == "pickup":
                doings.create_task(self._collect(order))

    # --- Placing

    async def _place(self) -> models.Order | None:
        plan = self._plan
        if plan.campaign:
            return await self._place_in_campaign(plan)
        try:
            return await self._send(plan, plan.key)
        except Refusal as refusal:
            if refusal.code == "cod-denied":
                self._day.count("cash on delivery denied, paid online")
                return await self._place_online(plan)
            self._trace.refused = refusal.code
        return None

    async def _place_online(self, plan: OrderPlan) -> models.Order | None:
        try:
            return await self._send(replace(plan, payment="online"), f"{plan.key}-online")
        except Refusal as refusal:
            self._trace.refused = refusal.code
            return None

    async def _place_in_campaign(self, plan: OrderPlan) -> models.Order | None:
        """Press until there is an order or no hope; each time in the best group there is."""
        campaign_id = await self._day.campaign_id(plan.campaign)
        if not campaign_id:
            self._trace.refused = "campaign-not-opened"
            return None
        for number in range(CAMPAIGN_TRIES):
            wish = {"campaign_id": campaign_id, "group_id": await self._group(campaign_id)}
            try:
                return await self._send(plan, f"{plan.key}-{number}" if number else plan.key, wish)
            except Refusal as refusal:
                self._trace.refused = refusal.code
                if refusal.code not in WORTH_ANOTHER_TRY:
                    return None
                self._day.count(f"tries in campaigns refused: {refusal.code}")
            await self._clock.sleep(self._draw.uniform(1.0, 30.0))
        return None

    async def _group(self, campaign_id: str) -> str:
        """The group that lacks the fewest members; "" opens one."""
        planned = {one.key: one for one in self._day.plan.campaigns}[self._plan.campaign]
        if planned.group is None or self._plan.opens_group:
            return ""
        groups = (await self._shop.campaign_groups(campaign_id)).items
        return groups[0].group_id if groups else ""

    async def _send(
        self, plan: OrderPlan, key: str, wish: Mapping[str, Any] | None = None
    ) -> models.Order:
        """Place; an impatient customer presses again before the answer is there. All answers
        must name the same order."""
        body = {**_body(plan, self._day), **(wish or {})}
        presses = [self._press(body, key, 0.0)]
        for number in range(plan.repeats):
            self._day.count("placings pressed twice")
            presses.append(self._press(body, key, 0.2 * (number + 1)))
        answers = await asyncio.gather(*presses, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, models.Order):
                self._trace.refused = ""
                self._day.world.acknowledge(self._trace, answer.order_id, self._clock.now())
        return _first(answers)

    async def _press(self, body: dict[str, Any], key: str, later_s: float) -> models.Order:
        await self._clock.sleep(later_s)
        return await self._shop.place_order(body, key=key)

    # --- Paying

    async def _pay(self, order: models.Order) -> None:
        plan = self._plan
        if plan.pays == "never":
            self._day.count("orders never paid")
            return
        await self._clock.sleep(plan.pay_after_s)
        first = await self._open_payment(order, 1)
        if first is None:
            return
        if plan.pays == "late" and order.expires_at is not None:
            self._day.count("payments after the time was up")
            late_s = self._draw.uniform(30.0, 240.0)
            await self._clock.sleep_until(order.expires_at.timestamp() + late_s)
        await self._pay_at_page(first, late=plan.pays == "late")
        if plan.pays == "twice":
            second = await self._open_payment(order, 2)
            if second is not None:
                self._day.count("orders paid twice")
                await self._pay_at_page(second, late=False)

    async def _open_payment(self, order: models.Order, number: int) -> models.PaymentOpened | None:
        try:
            return await self._shop.start_payment(
                order.order_id, "sandbox", key=f"{self._plan.key}-payment-{number}"
            )
        except Refusal as refusal:
            self._day.count(f"payments not opened: {refusal.code}")
            return None

    async def _pay_at_page(self, payment: models.PaymentOpened, *, late: bool) -> None:
        """Press *pay* on the provider's page, which may take a moment to know the payment."""
        for attempt in range(PAGE_TRIES):
            try:
                status = await self._shop.pay_sandbox(
                    payment, late=True if late else None, key=f"{payment.payment_id}-pay"
                )
            except Refusal as refusal:
                if refusal.status != 404:
                    self._day.count(f"payments refused by the provider: {refusal.code}")
                    return
                await asyncio.sleep(min(1.0, 0.05 * 1.3**attempt))
                continue
            done = {"captured": self._trace.paid, "authorised": self._trace.held}
            if status in done:
                done[status][payment.payment_id] = payment.amount
            return
        self._day.world.wonders.append(f"payment {payment.payment_id} never got its page")

    # --- Changing one's mind

    async def _cancel(self, order: models.Order) -> None:
        if self._plan.cancels == "early":
            await self._clock.sleep(self._draw.uniform(5.0, 60.0))
        elif not await self._until(order, {"picking", "ready"}):
            return
        self._trace.cancel_asked = True
        self._day.count("cancels asked")
        try:
            await self._shop.cancel(
                order.order_id, "changed my mind", key=f"{self._plan.key}-cancel"
            )
        except Refusal as refusal:
            self._day.count(f"cancels refused: {refusal.code}")

    # --- Watching and collecting

    async def _watch(self, order: models.Order) -> None:
        """Follow the tracking topic until the order is final or the day is over."""
        path = f"/v1/orders/{order.order_id}/socket"
        token = self._day.signs("channel", self._plan.channel)
        async with self._day.wire.topic(path, token=token) as documents:
            async for document in documents:
                self._day.count("tracking updates seen")
                if document.get("state") in FINAL_STATES or self._day.over.is_set():
                    return

    async def _collect(self, order: models.Order) -> None:
        """Go to the shop when the goods are ready, and show the code."""
        if not await self._until(order, {"ready"}):
            return
        await self._clock.sleep(self._draw.uniform(0.3, 1.0) * TO_THE_SHOP_S)
        shown = await self._look(order)
        if shown is None:
            return
        for part in shown.fulfilments:
            if part.state == "ready":
                handed = Handed("collect", part.fulfilment_id, shown.pickup_code)
                self._day.world.counters[part.store_id].put_nowait(handed)

    async def _until(self, order: models.Order, states: set[str]) -> bool:
        """Wait until all parts that are still alive are in one of the states; False when the order
        is final first, or the day over."""
        while not self._day.over.is_set():
            shown = await self._look(order)
            if shown is None or shown.state in FINAL_STATES:
                return False
            states_now = [part.state for part in shown.fulfilments]
            alive = [state for state in states_now if state not in ("cancelled", "rejected")]
            if alive and all(state in states for state in alive):
                return True
            await asyncio.sleep(max(LOOK_EVERY_REAL_S_MIN, self._clock.real_s(LOOK_EVERY_S)))
        return False

    async def _look(self, order: models.Order) -> models.Order | None:
        try:
            return await self._shop.order(order.order_id)
        except ProblemError:
            return None


def _first(answers: list[models.Order | BaseException]) -> models.Order:
    """The first confirmation; if there is none, the first refusal is raised."""
    for answer in answers:
        if isinstance(answer, models.Order):
            return answer
    for answer in answers:
        if isinstance(answer, Refusal):
            raise answer
    raise next(answer for answer in answers if isinstance(answer, BaseException))


def _body(plan: OrderPlan, day: Day) -> dict[str, Any]:
    body: dict[str, Any] = {
        "customer": {"customer_id": plan.customer_id, "name": plan.name, "phone": plan.phone},
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in plan.lines],
        "currency": day.plan.currency,
        "delivery": plan.delivery,
        "payment": plan.payment,
        "store_id": plan.store_id,
    }
    if plan.delivery == "delivery" and plan.position is not None:
        body["address"] = {"position": plan.position.as_json(), "text": "at the blue door"}
    return body
