"""What an entity remembers of things that are over, so that late repeats do not revive them."""

__all__ = ["REMEMBERED_MAX", "REMEMBERED_S", "remember"]

REMEMBERED_S = 86_400.0
"""How long a finished thing is recognised. Owed effects are repeated for minutes, not days."""
REMEMBERED_MAX = 2_000
"""How many finished things are recognised; the oldest are forgotten first."""


def remember(memory: dict[str, tuple[float, str]], key: str, at: float, outcome: str) -> None:
    """Note that ``key`` ended with ``outcome``; forget what is too old. Amortised O(1)."""
    memory.pop(key, None)
    memory[key] = (at, outcome)
    while memory:
        oldest = next(iter(memory))
        if len(memory) <= REMEMBERED_MAX and at - memory[oldest][0] <= REMEMBERED_S:
            return
        del memory[oldest]
