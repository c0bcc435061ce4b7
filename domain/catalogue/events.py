"""Facts of the catalogue."""

from domain.catalogue.model import ChannelPolicy, Sku, StoreProfile
from domain.message import Event

__all__ = ["ChannelPut", "SkuPut", "StorePut"]


class SkuPut(Event, tag="catalogue.sku_put.v1"):
    """A SKU was created or replaced."""

    sku: Sku


class StorePut(Event, tag="catalogue.store_put.v1"):
    """A store's profile was created or replaced."""

    store: StoreProfile


class ChannelPut(Event, tag="catalogue.channel_put.v1"):
    """A channel's rules were created or replaced."""

    channel: ChannelPolicy
