"""Which texts may be ids. People choose them, and devices put them into the paths of addresses."""

__all__ = ["ID_CHARACTERS_MAX", "ID_RULE", "is_id", "is_known_id"]

ID_CHARACTERS_MAX = 64
ID_RULE = f"1 to {ID_CHARACTERS_MAX} printable characters without blanks and / ? # %, not . or .."
"""What :func:`is_id` asks, to be told to people."""

_PARTS_A_PATH = frozenset("/?#%")
"""Inside an id they end it, or what follows them is taken for something else."""


def is_id(text: str) -> bool:
    """Whether something new may be called this: it stands in a path as it is."""
    return is_known_id(text) and _PARTS_A_PATH.isdisjoint(text) and text not in (".", "..")


def is_known_id(text: str) -> bool:
    """Whether something may be called this already: ids were given before :func:`is_id` was as
    strict as it is. Never blanks, nor control characters (NUL and line ends are not printable)."""
    return 0 < len(text) <= ID_CHARACTERS_MAX and text.isprintable() and " " not in text
