"""Blocklists, decisions and challenges; use with the module's name: ``risk.X``."""

from domain.risk.commands import *  # noqa: F403
from domain.risk.events import *  # noqa: F403
