"""Commands to the catalogue. Entities are ``sku:<sku>``, ``store:<id>``, ``channel:<name>``."""

from domain.catalogue.model import ChannelPolicy, Sku, StoreProfile
from domain.message import Command

__all__ = ["PutChannel", "PutSku", "PutStore"]


class PutSku(Command, tag="catalogue.put_sku.v1"):
    """Create or replace a SKU."""

    sku: Sku


class PutStore(Command, tag="catalogue.put_store.v1"):
    """Create or replace a store's profile."""

    store: StoreProfile


class PutChannel(Command, tag="catalogue.put_channel.v1"):
    """Create or replace a channel's rules."""

    channel: ChannelPolicy
