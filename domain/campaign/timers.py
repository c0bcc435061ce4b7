"""When a campaign wakes up, and what for."""

from typing import Literal, NamedTuple

__all__ = ["Timer"]


class Timer(NamedTuple):
    """One entry of a campaign's heap, the earliest first."""

    at: float
    kind: Literal["claim", "group", "end"]
    id: str = ""
    """Of the claim or the group."""
