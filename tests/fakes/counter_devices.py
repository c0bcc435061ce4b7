"""Reference devices: they fold a snapshot and messages, knowing nothing but the documents."""

import json
from typing import Any

from domain.inbox import InboxMessage
from domain.store.messages import CLOSED_KEPT


class Tablet:
    """A store's tablet as ``domain.store.messages`` describes it."""

    def __init__(self, snapshot: bytes) -> None:
        document = json.loads(snapshot)
        self.store_id = document["store_id"]
        self.tickets = {each["fulfilment_id"]: each for each in document["tickets"]}
        self.pause = [document["paused"], document["paused_until"], document["paused_reason"]]
        self.items = document["paused_items"]
        self.closed = {each["fulfilment_id"]: each for each in document["closed"]}

    def fold(self, message: InboxMessage) -> None:
        data = json.loads(message.data)
        match message.type:
            case "ticket.opened":
                self.tickets[data["ticket"]["fulfilment_id"]] = data["ticket"]
            case "ticket.closed":
                closed = data["closed"]
                del self.tickets[closed["fulfilment_id"]]
                self.closed[closed["fulfilment_id"]] = closed
                if len(self.closed) > CLOSED_KEPT:
                    del self.closed[next(iter(self.closed))]
            case "store.paused":
                self.pause = [data["paused"], data["until"], data["reason"]]
            case "item.paused":
                self.items.pop(data["sku"], None)
                if data["paused"]:
                    self.items[data["sku"]] = data["until"]
            case _:
                self.tickets[data["fulfilment_id"]]["progress"] = data["progress"]

    def document(self) -> dict[str, Any]:
        return {
            "store_id": self.store_id,
            "tickets": list(self.tickets.values()),
            "paused": self.pause[0],
            "paused_until": self.pause[1],
            "paused_reason": self.pause[2],
            "paused_items": self.items,
            "closed": list(self.closed.values()),
        }


class Phone:
    """A rider's phone as ``domain.rider.messages`` describes it."""

    def __init__(self, snapshot: bytes) -> None:
        self.held = json.loads(snapshot)

    def fold(self, message: InboxMessage) -> None:
        data = json.loads(message.data)
        match message.type:
            case "offer.opened":
                self.held["offer"] = data["offer"]
            case "offer.ended":
                if self.held["offer"] and self.held["offer"]["offer_id"] == data["offer_id"]:
                    self.held["offer"] = None
            case "run.changed":
                self.held["run"] = data["run"]
            case "cash.changed":
                self.held["cash"] = data["cash"]
            case "shift.changed":
                self.held["shift"] = data["shift"]

    def document(self) -> dict[str, Any]:
        return self.held
