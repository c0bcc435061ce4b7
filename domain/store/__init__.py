"""Commands, events, state and rules of the store; use with the module's name: ``store.X``."""

from domain.store.commands import *  # noqa: F403
from domain.store.events import *  # noqa: F403
