"""The waiting room before a sought-after SKU or campaign; use with the module's name."""

from domain.waiting.commands import *  # noqa: F403
from domain.waiting.events import *  # noqa: F403
