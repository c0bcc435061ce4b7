"""The open groups of one campaign as its feed tells, in the order in which they are offered.

Whoever follows the feed lists them without asking the campaign, whose one process takes all its
orders. What is listed may be stale by a moment: the campaign decides who may join. A change costs
a step in the list of the groups that lack as many members; a listing costs what it shows.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from itertools import islice

from msgspec import Struct

from domain.campaign.commands import Terms
from domain.campaign.state import CampaignState, capacity, price_of
from domain.campaign.views import GroupView

__all__ = ["FOLLOWED_MAX", "OpenGroups"]

FOLLOWED_MAX = 100_000
"""Groups that are followed at once, some 0.3 KB each. Those opened beyond are not listed; who knows
their id may join."""


class _Group(Struct, gc=False):
    opened_at: float
    closes_at: float
    paid: int = 0
    claimed: int = 0
    """Seats taken and not paid."""


class OpenGroups:
    """Groups by what they lack, then by when they close."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._seats = capacity(terms)
        self._size = terms.group.size if terms.group else 0
        self._groups: dict[str, _Group] = {}
        self._lacking: dict[int, list[tuple[float, str]]] = {}
        """Paid members lacked -> (when it closes, id) of groups with a free seat, sorted."""

    def __len__(self) -> int:
        return len(self._groups)

    @classmethod
    def of(cls, state: CampaignState) -> "OpenGroups":
        """Those of a campaign's state; later events are followed on top."""
        groups = cls(state.terms)
        for group_id, group in state.groups.items():
            unpaid = len(state.members[group_id]) - group.paid
            groups._add(group_id, _Group(group.opened_at, group.closes_at, group.paid, unpaid))
        return groups

    # Following ----------------------------------------------------------------------------------

    def opened(self, group_id: str, at: float, closes_at: float) -> None:
        """A group without members yet."""
        self._add(group_id, _Group(at, closes_at))

    def counted(self, group_id: str, *, paid: int, claimed: int) -> None:
        """So many more paid members, and seats taken that are not paid."""
        group = self._groups.get(group_id)
        if group is not None:
            self._unlist(group_id, group)
            group.paid += paid
            group.claimed += claimed
            self._list(group_id, group)

    def gone(self, group_id: str) -> None:
        """It formed, or will not."""
        group = self._groups.pop(group_id, None)
        if group is not None:
            self._unlist(group_id, group)

    # Listing ------------------------------------------------------------------------------------

    def listed(self, near_completion: int, limit: int, now: float) -> tuple[GroupView, ...]:
        """Groups with a free seat, the nearest to completion first, then the first to close; those
        that lack more members than ``near_completion``, if that is not 0, are left out."""
        return tuple(islice(self._in_order(near_completion, now), limit))

    def _in_order(self, near_completion: int, now: float) -> Iterator[GroupView]:
        for missing in sorted(self._lacking):
            if near_completion and missing > near_completion:
                return
            rows = self._lacking[missing]
            first = bisect_right(rows, now, key=_closes_at)
            for place in range(first, len(rows)):
                yield self._view(rows[place][1], missing)

    def _view(self, group_id: str, missing: int) -> GroupView:
        group = self._groups[group_id]
        free = self._seats - group.paid - group.claimed
        return GroupView(
            group_id, self._size, group.paid, group.claimed, missing, free,
            price_of(self._terms, group.paid), group.opened_at, group.closes_at,
        )  # fmt: skip

    # Keeping the order --------------------------------------------------------------------------

    def _add(self, group_id: str, group: _Group) -> None:
        if len(self._groups) < FOLLOWED_MAX:
            self._groups[group_id] = group
            self._list(group_id, group)

    def _is_listed(self, group: _Group) -> bool:
        return group.paid + group.claimed < self._seats

    def _missing(self, group: _Group) -> int:
        return max(0, self._size - group.paid)

    def _list(self, group_id: str, group: _Group) -> None:
        if self._is_listed(group):
            rows = self._lacking.setdefault(self._missing(group), [])
            insort(rows, (group.closes_at, group_id))

    def _unlist(self, group_id: str, group: _Group) -> None:
        if self._is_listed(group):
            missing = self._missing(group)
            rows = self._lacking[missing]
            del rows[bisect_left(rows, (group.closes_at, group_id))]
            if not rows:
                del self._lacking[missing]


def _closes_at(row: tuple[float, str]) -> float:
    return row[0]
