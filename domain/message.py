"""The base of every stored or sent message.

Messages are msgspec structs with a *stable, versioned name* (the struct's tag, such as
``order.placed.v1``), never a Python path, so that a journal written by an old release can be read
by a new one. They are encoded as arrays: a released message may gain fields **at its end, with a
default**; any other change is a new name (``.v2``) and an upcaster (see ``actors.engine.codec``).

Messages, and states, are trees of values: no cycle can run through them, so the garbage collector
need not know them (``gc=False``). With thousands of open orders, that is most of what it walked
over.
"""

from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

__all__ = ["ONCE", "Command", "Event", "Value"]

ONCE = "once:"
"""How the id of a command begins that is sent without a key: only the way to the entity repeats it,
within seconds. It is done once, and soon forgotten."""

if TYPE_CHECKING:
    # Type checkers demand ``frozen=True`` again on each subclass of a frozen class; at run time
    # it is inherited. Messages are immutable either way.
    class _Message(Struct, array_like=True, gc=False):
        def __hash__(self) -> int: ...

else:

    class _Message(Struct, frozen=True, array_like=True, gc=False):
        pass


class Value(_Message):
    """An immutable value inside messages and states. Encoded as an array of its fields."""


class Command(_Message):
    """A wish addressed to one entity; named in the imperative. It may be refused."""

    LOOKED_UP: ClassVar[frozenset[str]] = frozenset()
    """Fields that whoever passes the wish on fills in from what it knows. They may be others when
    the same request comes again, which is the same wish all the same."""


class Event(_Message):
    """A fact of one entity's past; named in the past tense. It is never refused."""
