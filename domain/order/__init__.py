"""Commands, events, state and rules of the order; use with the module's name: ``order.X``."""

from domain.order.commands import *  # noqa: F403
from domain.order.events import *  # noqa: F403
from domain.order.views import *  # noqa: F403
