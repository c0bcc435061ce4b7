"""The one way from HTTP to the actors: bounded, counted, and who may use it."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import count
from secrets import token_hex
from typing import Any

from prometheus_client import Counter

from domain.errors import Busy, DoorstepError, Refused
from domain.message import ONCE, Command
from domain.order.commands import Place
from domain.order.ids import payment_id
from domain.order.views import OrderView
from domain.payment import ProviderAnswer
from orchestrator import metrics
from orchestrator.api.access import Access
from orchestrator.api.gate import Gate
from orchestrator.api.ids import derived_id, order_id_of
from orchestrator.auth import Tokens
from orchestrator.ports import Service

__all__ = ["Desk", "checked_key", "derived_id", "order_id_of", "payment_id_of"]

ORDER_CHANNELS_MAX = 50_000
KEY_CHARACTERS_MAX = 200
HEARD_PAUSE_S = 0.05
HEARD_TRIES = 40
"""How often, and with which pause in real seconds, a gateway looks again for what it has not heard
of, before it calls it unknown."""
PLACE_PAUSE_S_MAX = 1.0
"""Pauses before a shard is asked again double up to this."""
UNHEARD_MAX = 1_000
NOT_HEARD = frozenset({"unknown-sku", "unknown-store", "unknown-campaign"})


class Desk:
    """What every route of one gateway shares."""

    def __init__(self, service: Service, tokens: Tokens) -> None:
        self.service = service
        self.access = Access(tokens)
        self.gate = Gate(service, self)
        self._pending = 0
        self._pending_max = service.settings.pending_max
        self._unique = f"{ONCE}{token_hex(8)}-"
        self._numbers = count()
        self._counters: dict[tuple[type[Command], str], Counter] = {}
        self._order_channels: OrderedDict[str, str] = OrderedDict()
        self._unheard: OrderedDict[str, float] = OrderedDict()
        """Campaigns nobody has heard of: until when (of the loop's time) they are waited for."""
        self.on_inbox_read: Callable[[str], None] = lambda _owner: None
        """Told of a store (``store/s-1``) whose device reads its inbox over HTTP: it listens."""
        self.on_money: Callable[[str, ProviderAnswer, bool], None] = lambda *_told: None
        """Told of captured and refunded money: the provider, its event, and whether an order has
        what was captured (of a refund always False)."""
        metrics.commands_pending.set_function(lambda: self._pending)

    @property
    def pending(self) -> int:
        """Commands in flight from this gateway."""
        return self._pending

    async def ask(self, to: str, command: Command, command_id: str) -> Any:
        """The entity's durable answer. Raises ``Refused``, ``Busy`` (at once with ``gateway-busy``
        when ``pending_max`` commands are in flight; nothing was sent) and ``Unavailable``."""
        if self._pending >= self._pending_max:
            self._counted(type(command), "gateway-busy")
            raise Busy("gateway-busy", "Too much is in flight. Nothing was changed; retry soon.")
        self._pending += 1
        outcome = "failed"
        try:
            answer = await self.service.runtime.ask(to, command, command_id=command_id)
            outcome = "done"
        except DoorstepError as error:
            outcome = error.code
            raise
        finally:
            self._pending -= 1
            self._counted(type(command), outcome)
        return answer

    async def read(self, to: str, command: Command) -> Any:
        """As :meth:`ask`, for commands that change nothing or may be carried out again: without an
        id, so that no answer is kept and what changes nothing stores nothing."""
        return await self.ask(to, command, "")

    async def change(self, to: str, command: Command) -> Any:
        """As :meth:`ask`, for a command whose caller sends no key: it is carried out once however
        often this gateway has to send it, and never known again."""
        return await self.ask(to, command, self._unique + str(next(self._numbers)))

    async def place(self, order_id: str, command: Place, command_id: str) -> OrderView:
        """:meth:`ask` the order to be placed. What this gateway knows is not unknown: a shard that
        has not heard yet of a SKU, store or campaign put a moment ago is asked again."""
        pause_s = HEARD_PAUSE_S
        while True:
            try:
                placed: OrderView = await self.ask(f"order/{order_id}", command, command_id)
            except Refused as refusal:
                heard_later = refusal.code in NOT_HEARD and self._knows_all_of(command)
                if pause_s > PLACE_PAUSE_S_MAX or not heard_later:
                    raise
            else:
                return placed
            await asyncio.sleep(pause_s)
            pause_s *= 2

    def _knows_all_of(self, command: Place) -> bool:
        views = self.service.views
        skus = views.skus
        return (
            all(
                line.sku in skus and all(part.sku in skus for part in skus[line.sku].components)
                for line in command.lines
            )
            and (not command.store_id or command.store_id in views.stores)
            and (not command.campaign_id or command.campaign_id in views.campaigns)
        )

    async def need_campaign(self, campaign_id: str) -> None:
        """Raises ``Refused`` with ``unknown-campaign`` unless it was opened. A crowd that asks for
        one that is gone is kept waiting once, not each of it."""
        views, loop = self.service.views, asyncio.get_running_loop()
        if campaign_id in views.campaigns:
            return
        until = self._unheard.get(campaign_id)
        if until is None:
            if len(self._unheard) >= UNHEARD_MAX:
                self._unheard.popitem(last=False)
            until = self._unheard[campaign_id] = loop.time() + HEARD_TRIES * HEARD_PAUSE_S
        while campaign_id not in views.campaigns and loop.time() < until:  # noqa: ASYNC110 -- silent
            await asyncio.sleep(HEARD_PAUSE_S)
        views.campaign(campaign_id)

    async def need_store(self, store_id: str) -> None:
        """Raises ``Refused`` with ``unknown-store`` unless the catalogue has it."""
        if not await self._heard(lambda: store_id in self.service.views.stores):
            raise Refused("unknown-store", f"There is no store {store_id}.", store_id=store_id)

    async def need_skus(self, skus: Iterable[str]) -> None:
        """Raises ``Refused`` with ``unknown-sku`` unless the catalogue has them all."""
        wanted, known = set(skus), self.service.views.skus
        if not await self._heard(lambda: wanted <= known.keys()):
            unknown = sorted(wanted - known.keys())
            detail = f"The catalogue has no {', '.join(unknown)}: put it first."
            raise Refused("unknown-sku", detail, skus=unknown)

    async def need_zone(self, zone_id: str) -> tuple[str, ...]:
        """The currencies of the zone's stores. Raises ``Refused`` with ``unknown-zone`` unless
        riders of it serve some store."""
        stores = self.service.views.stores
        if not await self._heard(lambda: any(s.dispatch_zone == zone_id for s in stores.values())):
            raise Refused("unknown-zone", f"No store has the dispatch zone {zone_id}.")
        return tuple(sorted({s.currency for s in stores.values() if s.dispatch_zone == zone_id}))

    async def _heard(self, known: Callable[[], bool]) -> bool:
        """Whether this gateway knows it. What was put a moment ago may still be on its way here."""
        for _ in range(HEARD_TRIES):
            if known():
                return True
            await asyncio.sleep(HEARD_PAUSE_S)
        return known()

    def remember_channel(self, order_id: str, channel: str) -> None:
        """An order's channel never changes: knowing it saves a question before later commands."""
        if len(self._order_channels) >= ORDER_CHANNELS_MAX:
            self._order_channels.popitem(last=False)
        self._order_channels[order_id] = channel

    def channel_of(self, order_id: str) -> str | None:
        """The order's channel, if this gateway has met the order lately."""
        return self._order_channels.get(order_id)

    def _counted(self, command: type[Command], outcome: str) -> None:
        counter = self._counters.get((command, outcome))
        if counter is None:
            name = str(command.__struct_config__.tag)
            counter = metrics.commands.labels(name, outcome)
            self._counters[command, outcome] = counter
        counter.inc()


def checked_key(key: str | None) -> str:
    """A usable Idempotency-Key. Raises ``Refused`` with ``idempotency-key-missing``."""
    if not key or len(key) > KEY_CHARACTERS_MAX or not key.isascii() or not key.isprintable():
        raise Refused(
            "idempotency-key-missing",
            f"Send an Idempotency-Key header of 1 to {KEY_CHARACTERS_MAX} visible characters; "
            "send the same one when you retry.",
        )
    return key


def payment_id_of(order_id: str, key: str) -> str:
    """The payment that this Idempotency-Key opens; its order is what stands before ``-p``."""
    return payment_id(order_id, derived_id(order_id, key, characters=8))
