"""Goods, stores and the rules of channels: what the retailer sets, and everybody reads."""

from domain.catalogue.commands import *  # noqa: F403
from domain.catalogue.events import *  # noqa: F403
from domain.catalogue.model import *  # noqa: F403
from domain.catalogue.rules import explode as explode
