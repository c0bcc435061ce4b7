"""Which stores serve a group that forms, where that was open till then (stock ``on_formation``)."""

from collections import deque
from collections.abc import Sequence

from domain.campaign.events import GroupFormed
from domain.campaign.quota import holds_units
from domain.campaign.state import CampaignState

__all__ = ["find_places", "store_of"]

SEARCH_STEPS_MAX = 20_000
"""Bound of the search for a forming group's stores, in places looked at (some 5 ms). Beyond it a
group may fail that could have been served."""


def find_places(state: CampaignState, paid: Sequence[str]) -> dict[str, str] | None:
    """Which store each member's units come from, where that is open until a group forms: its own
    if that still has them, else another that can serve it. None: there are not enough.

    Exact for members who want as many units each. Else the larger wishes choose first, and a way to
    serve all may be missed.
    """
    if holds_units(state.terms):
        return {}
    search = _Places(state)
    largest_first = sorted(paid, key=lambda name: -state.seats[name].parts[0].units)
    for name in largest_first:
        if not search.stay(name) and not search.find(name):
            return None
    return search.at


def store_of(state: CampaignState, formed: GroupFormed, claim_id: str) -> str:
    """Which store serves a seat of a group that forms now; empty: that was never open."""
    seat = state.seats[claim_id]
    for moved in formed.moved:
        if moved.claim_id == claim_id:
            return moved.store_id
    return seat.parts[0].store_id if seat.stores else ""


class _Places:
    """A search for stores: members who have a place make room for others where they can be served
    elsewhere."""

    def __init__(self, state: CampaignState) -> None:
        self._seats = state.seats
        self._left = {name: shelf.available for name, shelf in state.shelves.items()}
        self._steps = SEARCH_STEPS_MAX
        self.at: dict[str, str] = {}

    def stay(self, name: str) -> bool:
        """Take the units where the seat was claimed, if they are there."""
        return self._put(name, self._seats[name].parts[0].store_id)

    def find(self, name: str) -> bool:
        """Take them at any other store; else look, breadth first, for the shortest chain of members
        of whom each takes the place of the next, and the last one a free place."""
        wants = dict.fromkeys(self._seats[name].stores, name)
        if any(self._put(name, store_id) for store_id in wants):
            return True
        queue = deque(wants)
        while queue and self._steps > 0:
            store_id = queue.popleft()
            units = self._units(wants[store_id])
            for other in [one for one, at in self.at.items() if at == store_id]:
                self._steps -= len(self._seats[other].stores)
                if self._units(other) < units:
                    continue
                for to in self._seats[other].stores:
                    if to not in wants:
                        if self._left[to] >= self._units(other):
                            self._shift(other, to)
                            self._close(name, store_id, wants)
                            return True
                        wants[to] = other
                        queue.append(to)
        return False

    def _close(self, name: str, free: str, wants: dict[str, str]) -> None:
        """A member has left ``free``: who wanted it moves there, and so on up to ``name``."""
        while True:
            mover = wants[free]
            origin = self.at.get(mover, "")
            self._shift(mover, free)
            if mover == name:
                return
            free = origin

    def _shift(self, name: str, store_id: str) -> None:
        units = self._units(name)
        if name in self.at:
            self._left[self.at[name]] += units
        self._left[store_id] -= units
        self.at[name] = store_id

    def _put(self, name: str, store_id: str) -> bool:
        enough = self._left[store_id] >= self._units(name)
        if enough:
            self._shift(name, store_id)
        return enough

    def _units(self, name: str) -> int:
        return self._seats[name].parts[0].units
