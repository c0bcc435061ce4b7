"""One entry of the catalogue as it is kept: a SKU, a store or a channel."""

from typing import assert_never

from msgspec import Struct

from domain.catalogue.events import ChannelPut, SkuPut, StorePut
from domain.catalogue.model import ChannelPolicy, Sku, StoreProfile

__all__ = ["CatalogueState", "evolve"]


class CatalogueState(Struct, array_like=True, gc=False):
    """Exactly one of the three is set."""

    sku: Sku | None = None
    store: StoreProfile | None = None
    channel: ChannelPolicy | None = None

    @property
    def content(self) -> Sku | StoreProfile | ChannelPolicy | None:
        """What was put."""
        return self.sku or self.store or self.channel


def evolve(state: CatalogueState | None, event: SkuPut | StorePut | ChannelPut) -> CatalogueState:
    """Replace the entry."""
    match event:
        case SkuPut(sku):
            return CatalogueState(sku=sku)
        case StorePut(store):
            return CatalogueState(store=store)
        case ChannelPut(channel):
            return CatalogueState(channel=channel)
        case _:
            assert_never(event)
