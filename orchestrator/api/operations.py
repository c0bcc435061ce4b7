"""Remedies for what is stuck in delivery. The flow itself is shown by ``orchestrator.monitor``."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from domain.dispatch import commands as dispatch
from domain.rider import commands as rider
from orchestrator import models
from orchestrator.api import examples
from orchestrator.api.desk import Desk
from orchestrator.api.openapi import answers
from orchestrator.api.plain import Authorised, Body, Key, Text, answer
from orchestrator.api.show import show_rider, show_work_zones, show_zone

__all__ = ["router"]


class WhyBody(Body):
    """Why; kept with the document."""

    why: Annotated[Text, Field(min_length=1)]


def router(desk: Desk) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/v1/dispatch", responses=answers(models.WorkZonePage, examples.WORK_ZONE_PAGE))
    async def list_zones(caller: Authorised) -> Response:
        """Where riders can work: the dispatch zones of active stores, and what lies in them."""
        return answer(show_work_zones(desk.service.views.stores.values()))

    @routes.get(
        "/v1/dispatch/{zone_id:path}", responses=answers(models.Zone, examples.ZONE, "unknown-zone")
    )
    async def read_zone(zone_id: str, caller: Authorised) -> Response:
        """Parcels, riders and open offers of a dispatch zone."""
        await desk.need_zone(zone_id)
        view = await desk.read(f"dispatch/{zone_id}", dispatch.GetZone())
        return answer(show_zone(view))

    @routes.post(
        "/v1/dispatch/{zone_id:path}/parcels/{parcel_id}/reoffer",
        responses=answers(
            models.Done, examples.DONE, "unknown-zone", "unknown-parcel", "wrong-state"
        ),
    )
    async def reoffer(
        zone_id: str, parcel_id: str, body: WhyBody, caller: Authorised, key: Key
    ) -> Response:
        """Withdraw the open offer of a parcel and put it first in the next round."""
        command = dispatch.ReofferParcel(parcel_id, caller.name, body.why)
        await desk.ask(f"dispatch/{zone_id}", command, f"reoffer:{key}")
        return answer(models.Done(True))

    @routes.post(
        "/v1/riders/{rider_id}/parcels/{parcel_id}/unassign",
        responses=answers(models.Rider, examples.RIDER, "unknown-parcel", "wrong-state"),
    )
    async def unassign(
        rider_id: str, parcel_id: str, body: WhyBody, caller: Authorised, key: Key
    ) -> Response:
        """Take a parcel that was not picked up yet from its rider, to be offered again."""
        command = rider.Unassign(parcel_id, caller.name, body.why)
        view = await desk.ask(f"rider/{rider_id}", command, f"unassign:{key}")
        return answer(show_rider(view))

    return routes
