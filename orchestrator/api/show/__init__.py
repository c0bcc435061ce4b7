"""From the internal views to the public documents of ``orchestrator.models``."""

from orchestrator.api.show.campaign import *  # noqa: F403
from orchestrator.api.show.catalogue import *  # noqa: F403
from orchestrator.api.show.common import *  # noqa: F403
from orchestrator.api.show.order import *  # noqa: F403
from orchestrator.api.show.rider import *  # noqa: F403
from orchestrator.api.show.risk import *  # noqa: F403
from orchestrator.api.show.stock import *  # noqa: F403
from orchestrator.api.show.ticket import *  # noqa: F403
from orchestrator.api.show.zone import *  # noqa: F403
