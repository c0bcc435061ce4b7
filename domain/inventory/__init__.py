"""Commands, events, state and rules of the stock; use with the module's name: ``inventory.X``."""

from domain.inventory.commands import *  # noqa: F403
from domain.inventory.events import *  # noqa: F403
from domain.inventory.views import *  # noqa: F403
