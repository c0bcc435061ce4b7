"""The gate before an order: rate limits, the queue's token, the decision on risk. In this order,
and before anything is asked of an order or locked (DOMAIN, Members, risk).

What is needed is in this process's memory: blocklists and rules of queues from the views, unpaid
orders from the orders' feed. A customer whom none of it touches costs no hop and no append. The
customer's own record is asked only of somebody who holds two unpaid orders or left one unpaid.

A token is used once because the order's id is made from it: an order is placed once, over all
gateways and restarts. Whoever repeats a placing that succeeded gets its first answer, whatever the
gate would say to it now; who may be doing that is known here as well, so that of those who are
refused the others (bots above all) ask no order either.
"""

from collections.abc import Awaitable, Mapping
from math import ceil
from typing import Any, NamedTuple, Protocol

from domain.campaign.brief import Brief
from domain.customer.commands import GetStanding, Standing
from domain.errors import DoorstepError, Refused
from domain.message import Command
from domain.order.commands import Get
from domain.order.views import OrderView
from domain.risk.addresses import counted_as
from domain.risk.commands import AnswerChallenge, OpenChallenge, RecordDecision, Visit
from domain.risk.rules import CLEARED_S, Clearance, code_of
from domain.risk.table import CHALLENGE, DENY, NO_FACTS, Facts, Verdict, judge, rules_of
from domain.sealed import seal, unseal
from domain.waiting.commands import Admission, Join
from domain.waiting.model import QueueRule, campaign_target, sku_room, sku_target
from domain.waiting.rules import Pass, check_pass, read_pass, write_pass
from orchestrator import metrics
from orchestrator.api.holdings import Holdings
from orchestrator.api.ids import derived_id, order_id_of
from orchestrator.api.placed import PlacedOrders
from orchestrator.api.visitor import Proxies, device_of
from orchestrator.ports import Service

__all__ = ["Gate", "Wish"]

CLEARANCE = "clearance"
CHALLENGE_S = 600.0
SUSPICIOUS_UNPAID = 2
"""From so many unpaid orders on, the customer's record is asked as well."""


class Wish(NamedTuple):
    """Who wants to order what; ``skus`` may repeat."""

    channel: str
    key: str
    customer_id: str
    phone: str
    skus: tuple[str, ...]
    campaign_id: str
    queue_token: str
    clearance: str


class Desk(Protocol):
    """What the gate needs of ``orchestrator.api.desk``."""

    async def ask(self, to: str, command: Command, command_id: str) -> Any: ...

    async def read(self, to: str, command: Command) -> Any: ...

    async def need_campaign(self, campaign_id: str) -> None: ...


class Gate:
    """One per gateway. ``holdings`` and ``placed`` are to be fed with the orders' events."""

    def __init__(self, service: Service, desk: Desk) -> None:
        settings = service.settings
        self.holdings = Holdings()
        self.placed = PlacedOrders(service.runtime)
        self._service = service
        self._desk = desk
        self._proxies = Proxies(settings.trusted_proxies)
        self._limits = service.limits
        self._rules = rules_of(settings.risk_rules) if settings.risk else ()
        self._secret = settings.queue_secret.get_secret_value().encode()

    # Placing ------------------------------------------------------------------------------------

    async def admit(
        self, wish: Wish, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]
    ) -> str:
        """The id under which the order is to be placed. Raises ``Busy`` with ``too-many-requests``,
        ``Refused``: ``queue-token-…``, ``challenge-required``, ``risk-denied``."""
        if self._limits is not None:
            await self.limit("place", scope, headers, wish.customer_id)
        if wish.campaign_id:
            await self._desk.need_campaign(wish.campaign_id)
        if not wish.queue_token:
            order_id = order_id_of(wish.channel, wish.key)
            granted = None
        else:
            granted = read_pass(self._secret, wish.queue_token)
            order_id = "o" + derived_id(*granted.id_parts)
        try:
            self._check_queue(wish, granted)
            if self._rules:
                await self._check_risk(wish, order_id, scope, headers)
        except Refused:
            if not await self._was_placed(order_id):
                raise
        return order_id

    async def passed(self, wish: Wish, placing: Awaitable[OrderView]) -> OrderView:
        """Await the placing of an admitted wish; meanwhile it counts as unpaid. Raises what that
        raises, and ``Refused`` with ``queue-token-used``."""
        holdings = self.holdings
        holdings.begin(wish.customer_id)
        try:
            view = await placing
        except Refused as refusal:
            if wish.queue_token and refusal.code == "order-exists":
                raise Refused(
                    "queue-token-used",
                    "An order was placed with this queue token: it is good once.",
                ) from None
            raise
        finally:
            holdings.end(wish.customer_id)
        self.placed.add(view.order_id)
        if view.state == "placed" and view.expires_at is not None:
            holdings.placed(view.order_id, wish.customer_id, view.total, view.expires_at)
        return view

    async def limit(
        self,
        route: str,
        scope: Mapping[str, Any],
        headers: Mapping[bytes, bytes],
        account: str = "",
    ) -> None:
        """Count a request of ``place | queue | pair``. Raises ``Busy``: ``too-many-requests``."""
        if self._limits is not None:
            await self._limits.check(
                route,
                account=account,
                device=device_of(headers),
                address=counted_as(self._proxies.address(scope, headers)),
            )

    async def _was_placed(self, order_id: str) -> bool:
        if not self.placed.may_hold(order_id):
            return False
        try:
            await self._desk.read(f"order/{order_id}", Get())
        except Refused:
            return False
        return True

    # The queue ----------------------------------------------------------------------------------

    async def join(
        self, channel: str, customer_id: str, sku: str, campaign_id: str, key: str
    ) -> tuple[str, str, Admission]:
        """(token, target, admission) of a customer who queues. Raises ``Refused``:
        ``unknown-sku``, ``unknown-campaign``, ``campaign-ended``, ``queue-not-required``;
        ``Busy``: ``queue-full``."""
        if campaign_id:
            await self._desk.need_campaign(campaign_id)
        room, target, rule, opens_at = self._room(channel, sku, campaign_id)
        command = Join(customer_id, rule, opens_at)
        admission: Admission = await self._desk.ask(
            f"queue/{room}", command, f"queue:{channel}:{key}"
        )
        granted = Pass(channel, customer_id, target, admission.admitted_at, admission.expires_at)
        return write_pass(self._secret, granted), target, admission

    def _room(self, channel: str, sku: str, campaign_id: str) -> tuple[str, str, QueueRule, float]:
        """(room, target, rule, when it opens)."""
        views = self._service.views
        rule: QueueRule | None
        if campaign_id:
            brief: Brief = views.campaign(campaign_id)
            if brief.state_at(self._service.clock.now()) == "ended":
                raise Refused("campaign-ended", "This campaign is over.")
            room = target = campaign_target(campaign_id)
            rule = brief.terms.queue
            opens_at = brief.terms.starts_at
        else:
            if sku not in views.skus:
                raise Refused("unknown-sku", f"Nothing is sold as {sku}.", skus=[sku])
            queues = {one.sku: one.rule for one in views.channel(channel).queues}
            room, target = sku_room(channel, sku), sku_target(sku)
            rule, opens_at = queues.get(sku), 0.0
        if rule is None:
            raise Refused("queue-not-required", "Place the order: it needs no queue token.")
        return room, target, rule, opens_at

    def _check_queue(self, wish: Wish, granted: Pass | None) -> None:
        targets = self._targets(wish)
        if granted is not None:
            # Checked even where none is needed: a token always says which order it places.
            wanted = targets or self._could_be(wish)
            target = granted.target if granted.target in wanted else next(iter(wanted))
            now = self._service.clock.now()
            self._check_pass(granted, wish, target, now)
            targets.discard(target)
        if targets:
            raise Refused(
                "queue-token-missing",
                f"Queue (POST /v1/queue) and order with the token: {', '.join(sorted(targets))}. "
                "A token is for one of them: order them apart.",
                targets=sorted(targets),
            )

    def _check_pass(self, granted: Pass, wish: Wish, target: str, now: float) -> None:
        try:
            check_pass(granted, wish.channel, wish.customer_id, target, now)
        except Refused as refusal:
            wait_s = refusal.extra.get("retry_after_s")
            if wait_s is not None:  # the caller waits in real time
                refusal.extra["retry_after_s"] = ceil(wait_s / self._service.clock.speed)
            raise

    def _targets(self, wish: Wish) -> set[str]:
        """What of the wish needs a token."""
        views = self._service.views
        targets: set[str] = set()
        if wish.campaign_id:
            if views.campaign(wish.campaign_id).terms.queue is not None:
                targets.add(campaign_target(wish.campaign_id))
            return targets
        queues = views.channel(wish.channel).queues
        if queues:
            targets.update(sku_target(one.sku) for one in queues if one.sku in wish.skus)
        return targets

    @staticmethod
    def _could_be(wish: Wish) -> set[str]:
        if wish.campaign_id:
            return {campaign_target(wish.campaign_id)}
        return {sku_target(sku) for sku in wish.skus}

    # Risk ---------------------------------------------------------------------------------------

    async def _check_risk(
        self, wish: Wish, order_id: str, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]
    ) -> None:
        now = self._service.clock.now()
        facts = await self._facts(wish, scope, headers, now)
        if facts is NO_FACTS:
            return
        verdict = judge(self._rules, facts)
        cleared = verdict.decision == CHALLENGE and self._is_cleared(wish, now)
        if verdict.decision not in (CHALLENGE, DENY) or cleared:
            return
        metrics.risk_decisions.labels(verdict.decision).inc()
        address = self._proxies.address(scope, headers)
        visit = Visit(wish.channel, order_id, device_of(headers), address)
        if verdict.decision == DENY:
            await self._deny(wish, verdict, visit)
        await self._challenge(wish, verdict, visit, now)

    async def _facts(
        self, wish: Wish, scope: Mapping[str, Any], headers: Mapping[bytes, bytes], now: float
    ) -> Facts:
        blocks, holdings = self._service.views.blocks, self.holdings
        customer_id, device_id = wish.customer_id, device_of(headers)
        unpaid, value = holdings.unpaid(customer_id, now)
        left_unpaid = holdings.left_unpaid(customer_id)
        if not (blocks or unpaid or left_unpaid or device_id):
            return NO_FACTS
        standing = Standing(0, 0, 0)
        if left_unpaid or unpaid >= SUSPICIOUS_UNPAID:
            standing = await self._desk.read(f"customer/{customer_id}", GetStanding())
            unpaid, value = holdings.unpaid(customer_id, now)  # others were sent meanwhile
        shared = holdings.device_customers(device_id, customer_id, now) if device_id else 0
        address = self._proxies.address(scope, headers) if blocks else ""
        return Facts(
            blocked_customer=blocks.covers("customer", customer_id, now),
            blocked_phone=blocks.covers("phone", wish.phone, now),
            blocked_device=blocks.covers("device", device_id, now),
            blocked_address=blocks.covers_address(address, now),
            unpaid_orders=unpaid,
            unpaid_value=value,
            expired_orders=standing.left_unpaid,
            expired_share=standing.unpaid_share,
            device_customers=shared,
        )

    async def _deny(self, wish: Wish, verdict: Verdict, visit: Visit) -> None:
        record = RecordDecision(DENY, verdict.reasons, visit)
        try:
            await self._desk.read(f"risk/customer:{wish.customer_id}", record)
        except DoorstepError:
            metrics.risk_unrecorded.inc()  # denied all the same
        raise Refused(
            "risk-denied",
            "This order is not taken. Operations can tell why and lift it.",
            reasons=list(verdict.reasons),
        )

    async def _challenge(self, wish: Wish, verdict: Verdict, visit: Visit, now: float) -> None:
        kind = self._service.views.channel(wish.channel).challenge
        slot = str(int(now // CHALLENGE_S))
        challenge_id = "q" + derived_id("challenge", wish.channel, wish.customer_id, slot)
        expires_at = now + CHALLENGE_S
        code = code_of(self._secret, challenge_id) if kind == "code" else ""
        command = OpenChallenge(challenge_id, verdict.reasons, visit, expires_at, code)
        await self._desk.read(f"risk/customer:{wish.customer_id}", command)
        raise Refused(
            "challenge-required",
            "Have the customer pass the challenge, answer it (POST /v1/risk/challenges/…/answers), "
            "then send the same order with the clearance.",
            reasons=list(verdict.reasons),
            challenge={"challenge_id": challenge_id, "kind": kind, "valid_s": ceil(CHALLENGE_S)},
        )

    async def answer(
        self, channel: str, customer_id: str, challenge_id: str, code: str, word: bool, key: str
    ) -> tuple[str, float]:
        """(clearance, until when it is good) of a challenge that was passed: with ``code``, or,
        where none was sent, by the channel's ``word``. Raises ``Refused``: ``unknown-challenge``,
        ``challenge-expired``, ``challenge-failed``."""
        command = AnswerChallenge(challenge_id, channel, code, word)
        passed = await self._desk.ask(
            f"risk/customer:{customer_id}", command, f"challenge:{channel}:{key}"
        )
        if not passed:
            raise Refused(
                "challenge-failed",
                "The customer has not passed. Answer with the right `code` if they were sent one, "
                "otherwise with `passed`: true once they have.",
            )
        expires_at = self._service.clock.now() + CLEARED_S
        made = Clearance(channel, customer_id, expires_at)
        return seal(self._secret, CLEARANCE, made), expires_at

    def _is_cleared(self, wish: Wish, now: float) -> bool:
        if not wish.clearance:
            return False
        known = unseal(self._secret, CLEARANCE, wish.clearance, Clearance)
        return (
            known is not None
            and (known.channel, known.customer_id) == (wish.channel, wish.customer_id)
            and now < known.expires_at
        )
