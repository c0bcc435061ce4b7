"""The monitor's routes: ``GET /v1/monitor``, ``GET /v1/anomalies``, ``/v1/monitor/socket``; and
what a store sees of the same aggregate, ``GET /v1/stores/{store_id}/riders``."""

import asyncio
import time
from typing import Annotated, Any

import msgspec
import structlog
from fastapi import Depends, FastAPI, Query, Response
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from domain.errors import DoorstepError, Refused
from orchestrator import models
from orchestrator.api import examples
from orchestrator.api.openapi import answers
from orchestrator.api.plain import Authorised, authorised, page_answer
from orchestrator.monitor.flow import Flow, show_anomaly
from orchestrator.ports import Service
from orchestrator.push.routes import Push
from orchestrator.push.topics import Topic

__all__ = ["Monitor", "mount"]

TICK_S = 0.25
"""Real seconds between deltas: at most four a second."""
READER_S = 15.0
"""Real seconds after which a device that read its inbox over HTTP counts as gone."""
HTTP_DEVICE = "http"
LAG_TICKS = 20
"""The ledger's lag is asked for each so many ticks."""

_log = structlog.get_logger(__name__)


class Monitor:
    """The aggregate and the topic that shows it."""

    def __init__(self, service: Service, push: Push) -> None:
        self._service = service
        self._push = push
        self.flow = Flow(
            service.clock.now,
            service.views.stores if service.views is not None else {},
            only_gateway=service.settings.gateways == 1,
            push=push.hub.figures,
        )
        self.topic = Topic()
        self._readers: dict[str, float] = {}
        """Owner -> when its inbox was last read over HTTP (real, monotonic)."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tick."""
        self._task = asyncio.create_task(self._tick_for_ever(), name="monitor")

    async def close(self) -> None:
        """Stop ticking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def inbox_read(self, owner: str) -> None:
        """A device without a socket asked for its inbox: it listens."""
        if owner not in self._readers:
            self.flow.presence(owner, HTTP_DEVICE, True)
        self._readers[owner] = time.monotonic()

    def tick(self) -> None:
        """Look at the clock, and tell those who watch what changed."""
        since = time.monotonic() - READER_S
        for owner in [owner for owner, at in self._readers.items() if at < since]:
            del self._readers[owner]
            self.flow.presence(owner, HTTP_DEVICE, False)
        self.flow.advance()
        if self.topic.watched:
            self.flow.refresh(self.topic)
        else:
            self.flow.rest(self.topic)

    async def joined(self) -> Topic:
        """The topic, current to this moment, for a socket that joins now."""
        self.flow.advance()
        self.flow.refresh(self.topic)
        return self.topic

    async def _tick_for_ever(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.tick()
                if ticks % LAG_TICKS == 0 and self._service.books is not None:
                    self.flow.ledger_lag(await self._service.books.lag())
            except DoorstepError:
                pass  # the ledger is away: /readyz says so
            except Exception:
                _log.exception("monitor.tick_failed")
            ticks += 1


def mount(app: FastAPI, service: Service, push: Push) -> Monitor:
    """Add the monitor to ``app``; it lives with ``push`` and reads its tail."""
    monitor = Monitor(service, push)
    push.listen(monitor.flow)
    push.hub.presence.append(monitor.flow.presence)
    push.accompany(monitor.start, monitor.close)
    app.router.routes.append(WebSocketRoute("/v1/monitor/socket", _MonitorSocket(monitor, push)))

    @app.get(
        "/v1/monitor",
        tags=["operations"],
        responses=answers(models.Monitor, examples.MONITOR),
        dependencies=[Depends(authorised)],
    )
    async def read_monitor() -> Response:
        """The order flow now: counts, rates and ages by state, the funnel, stores, riders, low
        stock and anomalies. The same document is pushed over ``/v1/monitor/socket``."""
        monitor.flow.advance()
        return _json(monitor.flow.document())

    @app.get(
        "/v1/anomalies",
        tags=["operations"],
        responses=answers(models.AnomalyPage, examples.ANOMALIES),
        dependencies=[Depends(authorised)],
    )
    async def read_anomalies(
        code: Annotated[str, Query(max_length=64, description="Only these.")] = "",
    ) -> Response:
        """What is wrong now, oldest first, each with the calls that mend it."""
        monitor.flow.advance()
        found = [one for one in monitor.flow.anomalies.all() if code in ("", one.code)]
        return _json({"items": [show_anomaly(one) for one in found], "next": None})

    @app.get(
        "/v1/stores/{store_id}/riders",
        tags=["riders"],
        responses=answers(models.RiderCashPage, examples.RIDER_CASH_PAGE, "unknown-store"),
    )
    async def list_riders(store_id: str, caller: Authorised) -> Response:
        """Whose cash the store may take: riders on shift in its dispatch zone, and those who were
        there last and still owe. Who owes most first; a moment behind what just happened."""
        store = service.views.stores.get(store_id)
        if store is None:
            raise Refused("unknown-store", f"There is no store {store_id}.", store_id=store_id)
        found = monitor.flow.fleet.of_zone(store.dispatch_zone)
        return page_answer([_cash_of(rider_id, one) for rider_id, one in found], None)

    return monitor


def _cash_of(rider_id: str, known: dict[str, Any]) -> models.RiderCash:
    return models.RiderCash(
        rider_id, known["on_shift"], known["cash"], known["cash_limit"], known["currency"]
    )  # fmt: skip


class _MonitorSocket:
    """ASGI app of ``/v1/monitor/socket``."""

    def __init__(self, monitor: Monitor, push: Push) -> None:
        self._monitor = monitor
        self._push = push

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._push.serve_topic(
            receive,
            send,
            audience="monitor",
            verify=self._push.verifier(scope, ("ops",)),
            topic_of=self._monitor.joined,
        )


def _json(document: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json")
