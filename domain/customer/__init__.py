"""Commands, events, state and rules of the customer; use with the module's name: ``customer.X``."""

from domain.customer.commands import *  # noqa: F403
from domain.customer.events import *  # noqa: F403
