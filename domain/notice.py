"""Notices to people who do not hold a socket (customers, a store nobody answers at)."""

from domain.message import Command

__all__ = ["Notify"]


class Notify(Command, tag="notice.notify.v1"):
    """Owed to ``notify/<adapter>``. ``audience`` such as ``customer:<id>``, ``store:<id>``,
    ``ops``; ``template`` is a stable name; ``facts`` fill it."""

    audience: str
    template: str
    facts: dict[str, str]
