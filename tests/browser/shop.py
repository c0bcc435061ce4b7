"""A store of its own with its clerk and its rider, for stories that need both."""

import time
from typing import Any
from uuid import uuid4

from tests.browser.conftest import House, whereabouts

__all__ = ["PHONE", "Shop", "action", "refused"]

PHONE = {"width": 390, "height": 844, "has_touch": True}


class Shop:
    """A store of its own, and its clerk."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.store_id = house.store("Corner shop")
        self.number = int(self.store_id.removeprefix("s"))
        self.rider_id = f"rider-{self.number}"

    @property
    def place(self) -> dict[str, float]:
        there = whereabouts(self.store_id)
        return {"latitude": there["lat"] + 0.002, "longitude": there["lon"] + 0.002}

    def packed(self, **more: Any) -> str:
        """An order that is ready for a rider; its id."""
        order_id = self.house.order(self.store_id, **more)
        self.clerk(f"{order_id}-1/accept", device_id="till")
        self.clerk(f"{order_id}-1/picking")
        self.clerk(f"{order_id}-1/ready")
        return order_id

    def delivered_for_cash(self) -> int:
        """Its rider has brought one order to the door and holds the cash for it; how much."""
        place = {"lat": self.place["latitude"], "lon": self.place["longitude"]}
        self.rides(
            "shift", dispatch_zone=f"z{self.store_id}", vehicle="bicycle", position=place
        )  # fmt: skip
        order_id = self.packed()
        deadline = time.monotonic() + 40
        while not (offer := self.rider()["offer"]):
            assert time.monotonic() < deadline, "no offer came"
            time.sleep(0.1)
        self.rides(f"offers/{offer['offer_id']}/accept")
        parcel = f"parcels/{order_id}-1"
        for step in ("arrive-at-store", "pick-up", "arrive-at-customer"):
            self.rides(f"{parcel}/{step}")
        (carried,) = self.rider()["parcels"]
        due = int(carried["cash_due"])
        self.rides(f"{parcel}/deliver", cash_received=due)
        return due

    def rides(self, path: str, **body: Any) -> Any:
        """As the rider."""
        return self.tried("POST", f"/riders/{self.rider_id}/{path}", "rider", body)

    def clerk(self, path: str, **body: Any) -> Any:
        """As the store; a ticket is a moment behind its order."""
        return self.tried("POST", f"/stores/{self.store_id}/tickets/{path}", "store", body)

    def rider(self) -> Any:
        return self.tried("GET", f"/riders/{self.rider_id}", "rider", None)

    def tried(self, method: str, path: str, role: str, body: Any) -> Any:
        subject = self.store_id if role == "store" else self.rider_id
        headers = {
            "authorization": f"Bearer {self.house.tokens.issue(role, subject)}",
            "idempotency-key": uuid4().hex,
        }
        deadline = time.monotonic() + 40
        while True:
            answer = self.house.http.request(method, f"/v1{path}", headers=headers, json=body)
            if answer.status_code < 300:
                return answer.json()
            assert time.monotonic() < deadline, f"{path}: {answer.status_code} {answer.text}"
            time.sleep(0.1)

    def phone(self, device: Any, **more: Any) -> Any:
        """The page, paired and off shift."""
        given = {"geolocation": self.place, "permissions": ["geolocation"], **PHONE, **more}
        page = device(**given)
        page.goto(self.house.link("rider", "rider", self.rider_id))
        page.get_by_role("button", name="Start shift").wait_for()
        return page

    def on_shift(self, device: Any, **more: Any) -> Any:
        page = self.phone(device, **more)
        page.get_by_role("button", name="Start shift").click()
        page.get_by_role("heading", name="Waiting for offers").wait_for()
        return page


def refused(house: House, store_id: str, **more: Any) -> str:
    """An order that its only store does not take: it is parked. Its id."""
    order_id = house.order(store_id, **more)
    headers = {
        "authorization": f"Bearer {house.tokens.issue('store', store_id)}",
        "idempotency-key": uuid4().hex,
    }
    path = f"/v1/stores/{store_id}/tickets/{order_id}-1/reject"
    deadline = time.monotonic() + 40
    while True:
        answer = house.http.post(path, headers=headers, json={"reason": "power cut"})
        if answer.status_code < 300:
            return order_id
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


def action(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)
