"""One command's work on an order: facts are recorded on a copy, effects are collected."""

from msgspec import msgpack

from actors.engine.kind import Context, Decision, Send
from domain.message import Command, Event
from domain.order.state import OrderState, evolve
from domain.order.view import view

__all__ = ["Turn"]

_DECODER = msgpack.Decoder(OrderState)


class Turn:
    """Collects what a decision will hold. ``state`` is the order as it will be; the state that the
    engine passed in is never changed."""

    __slots__ = ("_copied", "context", "events", "now", "sends", "state")

    def __init__(self, state: OrderState, context: Context) -> None:
        self.state = state
        self.context = context
        self.now = context.now
        self.events: list[Event] = []
        self.sends: list[Send] = []
        self._copied = False

    def record(self, event: Event) -> None:
        """Add a fact and apply it."""
        if not self._copied:
            self.state = _DECODER.decode(msgpack.encode(self.state))
            self._copied = True
        evolve(self.state, event)
        self.events.append(event)

    def owe(self, to: str, command: Command, wants_answer: bool = False) -> None:
        """Add an owed effect."""
        self.sends.append(Send(to, command, wants_answer))

    def decision(self, reply: object = None) -> Decision:
        """All of it."""
        state = self.state if self._copied else None
        return Decision(self.events, reply, self.sends, state=state)

    def answer(self, reason: str = "") -> Decision:
        """All of it, answered with the order's view."""
        return self.decision(view(self.state, reason))
