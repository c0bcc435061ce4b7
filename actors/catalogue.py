"""The catalogue as an actor kind. Entities: ``sku:<sku>``, ``store:<id>``, ``channel:<name>``."""

from actors.engine.kind import Answered, Context, Decision, Kind, Wake
from domain.catalogue.rules import CatalogueCommand, CatalogueEvent, put
from domain.catalogue.state import CatalogueState, evolve

__all__ = ["KIND", "decide"]

ANSWERS_KEPT = 4
"""Of each entry: a nightly POST of all SKUs leaves an answer at every one, changed or not."""


def decide(
    state: CatalogueState | None, command: CatalogueCommand | Wake | Answered, context: Context
) -> Decision:
    """A put is answered with True; the same content again changes nothing."""
    if isinstance(command, Wake | Answered):
        return Decision()
    current = None if state is None else state.content
    return Decision(put(current, context.entity_id, command), True)


KIND = Kind(
    name="catalogue",
    never_packed=True,
    state=CatalogueState,
    commands=CatalogueCommand,
    events=CatalogueEvent,
    replies=bool,
    decide=decide,
    evolve=evolve,
    answers_kept=ANSWERS_KEPT,
)
