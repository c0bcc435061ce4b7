"""Commands, events and views of campaigns; use with the module's name: ``campaign.X``."""

from domain.campaign.commands import *  # noqa: F403
from domain.campaign.events import *  # noqa: F403
from domain.campaign.views import *  # noqa: F403
