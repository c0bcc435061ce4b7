"""Commands, events, state and rules of the rider; use with the module's name: ``rider.X``."""

from domain.rider.commands import *  # noqa: F403
from domain.rider.events import *  # noqa: F403
