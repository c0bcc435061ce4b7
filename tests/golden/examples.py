"""One example of every stored message, built from its type: the same for the same type."""

import types
import typing
from typing import Any

import msgspec
from msgspec import Struct

from actors.engine.kind import Kind


def events_of(kind: Kind) -> tuple[type[Struct], ...]:
    """The event structs of a kind."""
    return typing.get_args(kind.events) or (kind.events,)


def example(wanted: Any, name: str = "x", depth: int = 0) -> Any:
    """A value of a type with every optional part present."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        return example(next(a for a in arguments if a is not type(None)), name, depth)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return (example(arguments[0], name, depth),)
        return tuple(example(argument, f"{name}{i}", depth) for i, argument in enumerate(arguments))
    if origin is list:
        return [example(arguments[0], name, depth)]
    if origin is dict:
        return {example(arguments[0], name, depth): example(arguments[1], name, depth)}
    if isinstance(wanted, type) and issubclass(wanted, Struct):
        hints = typing.get_type_hints(wanted)
        fields = msgspec.structs.fields(wanted)
        return wanted(**{f.name: example(hints[f.name], f.name, depth + 1) for f in fields})
    plain = {str: name, int: len(name), float: len(name) + 0.5, bool: True, bytes: name.encode()}
    if wanted is Any:
        return name
    return plain[wanted]
