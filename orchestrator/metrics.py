"""What Prometheus reads of this process at ``/metrics``. Durations are real seconds."""

from bisect import bisect_left
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import INF, floatToGoString

__all__ = [
    "CONTENT_TYPE",
    "books_lag",
    "commands",
    "commands_pending",
    "feed_position",
    "http_bytes_refused",
    "http_seconds",
    "node_pid",
    "node_up",
    "rendered",
    "shard_facts",
    "socket_closes",
    "socket_messages",
    "sockets",
    "webhooks",
]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_registry = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=_registry)
PlatformCollector(registry=_registry)
GCCollector(registry=_registry)

_LATENCY_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, INF,
)  # fmt: skip


_text: Callable[[float], str] = floatToGoString


class HttpSeconds(Collector):
    """A histogram that every request is counted in, so that counting must cost little: for one
    thread, without the locks and the search of the library's own."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], list[float]] = {}
        """By labels: how many fell into each bucket, then the sum of their seconds."""

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        counts = self._known.get((method, route, status))
        if counts is None:
            counts = self._known[method, route, status] = [0.0] * (len(_LATENCY_BUCKETS) + 1)
        counts[bisect_left(_LATENCY_BUCKETS, seconds)] += 1
        counts[-1] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """As Prometheus wants it: each bucket with those below it."""
        family = HistogramMetricFamily(
            "doorstep_http_seconds",
            "Time from a request's head to its answer's last byte, by route template.",
            labels=["method", "route", "status"],
        )
        for (method, route, status), (*counts, total) in self._known.items():
            below, buckets = 0.0, []
            for bound, count in zip(_LATENCY_BUCKETS, counts, strict=True):
                below += count
                buckets.append((_text(bound), below))
            family.add_metric([method, route, str(status)], buckets, total)
        yield family


http_seconds = HttpSeconds()
_registry.register(http_seconds)
http_bytes_refused = Counter(
    "doorstep_http_bodies_refused",
    "Requests whose body was larger than allowed.",
    registry=_registry,
)
commands = Counter(
    "doorstep_commands",
    "Commands sent to actors, by command name and outcome (`done`, or the error's code).",
    ["command", "outcome"],
    registry=_registry,
)
commands_pending = Gauge(
    "doorstep_commands_pending",
    "Commands in flight from this gateway.",
    registry=_registry,
)
webhooks = Counter(
    "doorstep_webhooks",
    "Provider webhooks by provider and outcome (`done`, or the error's code).",
    ["provider", "outcome"],
    registry=_registry,
)
sockets = Gauge(
    "doorstep_sockets",
    "Open sockets by audience (`store`, `rider`, `monitor`, `order`).",
    ["audience"],
    registry=_registry,
)
socket_messages = Counter(
    "doorstep_socket_messages",
    "Messages sent over sockets, by audience.",
    ["audience"],
    registry=_registry,
)
socket_closes = Counter(
    "doorstep_socket_closes",
    "Sockets closed by us, by close code.",
    ["code"],
    registry=_registry,
)
feed_position = Gauge(
    "doorstep_feed_position",
    "Last journal record this gateway has applied, by shard.",
    ["shard"],
    registry=_registry,
)
books_lag = Gauge(
    "doorstep_books_lag",
    "Journal records the ledger has not applied yet, by shard (as of the last readiness check).",
    ["shard"],
    registry=_registry,
)
node_up = Gauge(
    "doorstep_node_up",
    "1 while the node (Ray actor) answers, 0 while it is down.",
    ["node"],
    registry=_registry,
)
node_pid = Gauge(
    "doorstep_node_pid",
    "Process id of the node, 0 while it is down.",
    ["node"],
    registry=_registry,
)
risk_decisions = Counter(
    "doorstep_risk_decisions_total",
    "Orders that were challenged or denied before anything was locked.",
    ["decision"],
    registry=_registry,
)
risk_unrecorded = Counter(
    "doorstep_risk_unrecorded_total",
    "Denials that could not be kept, as their shard was away.",
    registry=_registry,
)
shard_facts = {
    fact: Gauge(f"doorstep_shard_{fact}", text, ["node", "shard"], registry=_registry)
    for fact, text in {
        "backlog": "Commands and answers waiting in the shard's mailbox.",
        "position": "Last journal record that the shard has committed.",
        "epoch": "The shard's fencing epoch: it grows with every take-over.",
        "live": "Entities in memory as objects.",
        "packed": "Entities in memory as bytes.",
        "unsettled": "Owed effects without an answer.",
        "commands": "Commands decided since the node's start.",
        "repeats": "Commands answered from memory since the node's start.",
        "refusals": "Commands refused since the node's start.",
        "effects_refused": "Owed effects their receivers refused since the node's start.",
        "failures": "Commands that failed by a defect since the node's start.",
    }.items()
}
"""What a node says of each of its shards, by fact."""


def rendered() -> bytes:
    """All metrics in Prometheus' text format (:data:`CONTENT_TYPE`)."""
    return generate_latest(_registry)
