"""The public JSON documents: what the service answers and what its client reads, one struct each.

Objects, never the positional arrays that cross our processes. Names and meaning are part of the
API. Money is an integer in minor units of the document's ``currency``; moments are RFC 3339 with
an offset. A client ignores members that a newer service adds. Nothing here knows the inside of the
service: ``orchestrator.api.show`` makes each from its internal view.
"""

from orchestrator.models.books import *  # noqa: F403
from orchestrator.models.campaign import *  # noqa: F403
from orchestrator.models.catalogue import *  # noqa: F403
from orchestrator.models.common import *  # noqa: F403
from orchestrator.models.device import *  # noqa: F403
from orchestrator.models.monitor import *  # noqa: F403
from orchestrator.models.order import *  # noqa: F403
from orchestrator.models.rider import *  # noqa: F403
from orchestrator.models.risk import *  # noqa: F403
from orchestrator.models.stock import *  # noqa: F403
from orchestrator.models.ticket import *  # noqa: F403
from orchestrator.models.zone import *  # noqa: F403
