"""One-time codes with which a tablet, a phone or a screen becomes somebody's device."""

from domain.device.commands import *  # noqa: F403
from domain.device.events import *  # noqa: F403
