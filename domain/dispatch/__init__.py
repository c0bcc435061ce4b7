"""Commands, events, state and rules of the dispatch; use with the module's name: ``dispatch.X``."""

from domain.dispatch.commands import *  # noqa: F403
from domain.dispatch.events import *  # noqa: F403
