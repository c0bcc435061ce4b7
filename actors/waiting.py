"""A waiting room as an actor kind (``queue``), of a campaign or of a channel's SKU: one for all
gateways, so that its rate holds over all of them, and durable, so that a restart neither loses a
place nor opens the doors."""

from actors.engine.kind import Answered, Context, Decision, Kind, Wake
from domain.waiting.commands import Admission, Join
from domain.waiting.events import Admitted
from domain.waiting.rules import join
from domain.waiting.state import QueueState, evolve, finished_at

__all__ = ["KIND", "decide"]


def decide(state: QueueState | None, command: Join | Wake | Answered, context: Context) -> Decision:
    """A ``Join`` is answered with its ``Admission``; queueing again changes nothing."""
    if not isinstance(command, Join):
        return Decision()
    events, admission = join(state, command, context.now)
    return Decision(events, admission)


KIND = Kind(
    name="queue",
    never_packed=True,
    state=QueueState,
    commands=Join,
    events=Admitted,
    replies=Admission,
    decide=decide,
    evolve=evolve,
    finished_at=finished_at,
)
