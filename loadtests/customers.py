"""Customers as Locust users: they speak HTTP as a channel's app does, and respect the gate.

A customer queues where a queue token is asked for and waits for the turn; waits as long as
``Retry-After`` says; passes a challenge and sends the order again; repeats a call whose outcome is
unknown with the same key. What the service refuses for a good reason (sold out, group full) is an
answer and shows in the statistics as a row of its own, under its code; what no customer should ever
be told counts as a failure, and the verdict hears of it, unless a load explains it.
"""

import random
from collections.abc import Mapping
from typing import Any

import gevent
import msgspec
from gevent.event import Event
from locust import FastHttpUser, User, between, task
from locust.exception import StopUser
from msgspec import Struct

from loadtests.scene import CURRENCY, NOBODY_HOME, CampaignSpot
from loadtests.stage import Stage, stage_of
from loadtests.verdict import SoldOut, is_fault, is_surprise
from orchestrator.client import Retries, models
from orchestrator.client.retries import retry_after_s

__all__ = ["Answered", "Customer", "FlashCustomer", "GroupCustomer", "RiderUser", "Shopper",
           "TabletUser"]  # fmt: skip

RETRIES = Retries()
"""As every client of ours insists; one attempt lasts as long as the user's time-outs allow."""
PLACINGS_MAX = 8
"""So often is one order sent, each time with what the gate asked for."""
PAGE_TRIES = 40
ABANDONS = 0.15
"""Share of the customers who place and do not pay."""
PRESSES_TWICE = 0.1
"""Share of placings that are sent again with the same key: an impatient thumb, a lost answer."""
COMES_AGAIN = 0.15
"""Share of a flash sale's buyers who press again with the token that they have used."""
SKIPS_QUEUE = 0.05
"""Share that tries without queueing first, as bots do."""
SHARES_DEVICE = 0.03
"""Share of orders from a device that many customers share."""
CANCELS = 0.05
NOT_AT_HOME = 0.03
PAYS_AT_DOOR = 0.5
SHOWN_BYTES = 300
"""So much of a failed answer's body is in its sample."""
CLOCKS_DIFFER_S = 0.02
"""A queue's turn is waited for so much longer: the customer's clock is not the service's."""
LAST_SEAT_WAITS_S = 0.4
LAST_SEAT_CROWD = 5
"""So many press at the same instant for the last seat of a group, if they come within the time."""

OK = frozenset({200, 201})
GATE = frozenset({
    "too-many-requests", "challenge-required", "risk-denied", "queue-token-missing",
    "queue-token-early", "queue-token-expired", "queue-full",
})  # fmt: skip
CAMPAIGN_OVER = frozenset({"campaign-ended", "campaign-not-started"})
FLASH = GATE | CAMPAIGN_OVER | {
    "campaign-sold-out", "customer-limit", "queue-token-used", "campaign-out-of-reach",
}  # fmt: skip
GROUP = GATE | CAMPAIGN_OVER | {
    "campaign-sold-out", "customer-limit", "group-full", "group-closed", "already-member",
    "not-newcomer", "campaign-out-of-reach",
}  # fmt: skip
PAYING = frozenset({"wrong-state", "seat-gone", "campaign-sold-out", "expired"})


class Answered(Struct):
    """The last answer to a call: ``status`` 0 when none came. ``code``: of a problem."""

    status: int
    code: str
    body: Any

    @property
    def ok(self) -> bool:
        """It was done."""
        return self.status in OK


class Customer(FastHttpUser):
    """What all customers can do. One Locust user plays one customer after the other."""

    abstract = True
    host = "http://127.0.0.1"  # the scene says where, when a test starts
    connection_timeout = RETRIES.timeout_s
    network_timeout = RETRIES.timeout_s

    def on_start(self) -> None:
        """Take a place among the users."""
        self.stage: Stage = stage_of(self.environment)
        self.number = self.stage.number()
        self.dice = random.Random(f"{self.stage.scene.tag}/{self.number}")
        self.count = 0
        self.become_somebody()

    def become_somebody(self) -> None:
        """A customer nobody has seen before, somewhere in the zone."""
        scene = self.stage.scene
        self.count += 1
        self.customer_id = f"{scene.tag}-c{self.number}-{self.count}"
        self.device_id = f"device-{self.customer_id}"
        if self.dice.random() < SHARES_DEVICE:
            self.device_id = f"device-{scene.tag}-shared-{self.dice.randrange(3)}"
        spot = self.dice.choice(scene.stores)
        self.position = {
            "lat": round(spot.lat + self.dice.uniform(-0.01, 0.01), 6),
            "lon": round(spot.lon + self.dice.uniform(-0.01, 0.01), 6),
        }
        self.clearance = ""
        self.keys = 0

    def fresh_key(self) -> str:
        """An Idempotency-Key that nobody has used."""
        self.keys += 1
        return f"{self.customer_id}-{self.keys}"

    # --- One call

    def call(
        self,
        method: str,
        path: str,
        name: str,
        body: dict[str, Any] | None = None,
        *,
        key: str = "",
        expected: frozenset[str] = frozenset(),
    ) -> Answered:
        """Send until the outcome is known, always with the same key."""
        headers = {"Authorization": f"Bearer {self.stage.scene.channel_token}"}
        headers["Device-Id"] = self.device_id
        data = None
        if body is not None:
            data = msgspec.json.encode(body).decode()
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key}
        patience = RETRIES.begin(self.dice)
        while True:
            answered, wait_s = self._attempt(method, path, name, data, headers, expected)
            pause_s = patience.pause_s(answered.status, wait_s)
            if pause_s is None:
                return answered
            gevent.sleep(pause_s)

    def _attempt(
        self, method: str, path: str, name: str, data: str | None, headers: dict[str, str],
        expected: frozenset[str],
    ) -> tuple[Answered, float]:  # fmt: skip
        with self.client.request(
            method, path, name=name, data=data, headers=headers, catch_response=True
        ) as response:
            status = int(response.status_code or 0)
            content = response.content if status else b""
            answered = Answered(status, "", _decoded(content or b""))
            saw = self.stage.customers
            saw.calls += 1
            if status == 0:
                saw.unanswered += 1
                response.failure(f"no answer: {type(response.error).__name__}")
                return answered, 0.0
            if answered.ok or status in (202, 204):
                response.success()
                return answered, 0.0
            code = _problem_code(response.headers or {}, answered.body)
            shown = (content or b"")[:SHOWN_BYTES].decode(errors="replace")
            if is_fault(status, code):
                saw.faults.note(f"{status} to {method} {name}: {shown}")
            elif is_surprise(status, code, expected):
                saw.surprises.note(f"{status} to {method} {name}: {shown}")
            answered.code = code or str(status)
            response.request_meta["name"] = f"{name} ({answered.code})"
            if answered.code in expected:
                response.success()
            else:
                response.failure(f"{status} {answered.code}")
            return answered, retry_after_s(response.headers or {})

    # --- Placing

    def place(self, wish: dict[str, Any], expected: frozenset[str]) -> models.Order | None:
        """Place one order, whatever the gate asks for on the way; None if it was refused."""
        body = {
            "customer": {"customer_id": self.customer_id, "name": "Ada", "phone": ""},
            "currency": CURRENCY,
            "address": {"position": self.position, "text": "Torstr. 1"},
            **wish,
        }
        campaign_id = str(wish.get("campaign_id", ""))
        key = self.fresh_key()
        for _ in range(PLACINGS_MAX):
            if self.clearance:
                body["clearance"] = self.clearance
            sent_at = self.stage.scene.now()
            answered = self.call(
                "POST", "/v1/orders", "/v1/orders", body, key=key, expected=expected
            )
            if answered.ok:
                return self._placed(answered, body, key, expected)
            if answered.code == "campaign-sold-out":
                self._note_sold_out(campaign_id, sent_at)
                return None
            if answered.code == "challenge-required":
                if not self._pass_challenge(answered):
                    return None
            elif answered.code in ("queue-token-missing", "queue-token-expired"):
                body["queue_token"] = self.queue(campaign_id)
                if not body["queue_token"]:
                    return None
            elif answered.code == "queue-token-early":
                gevent.sleep(max(0.01, float(answered.body.get("retry_after_s", 0.1))))
            else:
                return None
            key = self.fresh_key()  # another body
        return None

    def _placed(
        self, answered: Answered, body: dict[str, Any], key: str, expected: frozenset[str]
    ) -> models.Order:
        order = msgspec.convert(answered.body, models.Order)
        self.stage.customers.acknowledged.append(order.order_id)
        if self.dice.random() < PRESSES_TWICE:
            again = self.call(
                "POST", "/v1/orders", "/v1/orders (repeated)", body, key=key,
                expected=expected,
            )  # fmt: skip
            if again.ok and again.body["order_id"] != order.order_id:
                self.stage.customers.repeats_differ.append(key)
        return order

    def _note_sold_out(self, campaign_id: str, sent_at: float) -> None:
        """Who is told so looks at the page again: units of unpaid orders come back."""
        page = self.call("GET", f"/v1/campaigns/{campaign_id}", "/v1/campaigns/{id}")
        told = self.stage.customers.sold_out
        if page.ok and (campaign_id not in told or told[campaign_id].at < sent_at):
            told[campaign_id] = SoldOut(sent_at, int(page.body["remaining"]))

    def queue(self, campaign_id: str) -> str:
        """Queue and wait for the turn; the token, or "" if there is none to be had."""
        body = {"customer_id": self.customer_id, "campaign_id": campaign_id}
        answered = self.call(
            "POST", "/v1/queue", "/v1/queue", body, key=self.fresh_key(),
            expected=GATE | CAMPAIGN_OVER,
        )  # fmt: skip
        if not answered.ok:
            return ""
        place = msgspec.convert(answered.body, models.QueuePlace)
        self.wait_until(place.admitted_at.timestamp())
        gevent.sleep(CLOCKS_DIFFER_S)
        return place.token

    def _pass_challenge(self, refused: Answered) -> bool:
        challenge_id = refused.body["challenge"]["challenge_id"]
        gevent.sleep(self.dice.uniform(0.2, 0.6))  # a person looks at a picture
        answered = self.call(
            "POST", f"/v1/risk/challenges/{challenge_id}/answers", "/v1/risk/…/answers",
            {"customer_id": self.customer_id, "passed": True}, key=self.fresh_key(),
        )  # fmt: skip
        if answered.ok:
            self.clearance = answered.body["clearance"]
        return answered.ok

    # --- Paying and looking

    def pay(self, order: models.Order) -> bool:
        """Open a payment and pay it at the provider's page; whether the money was taken."""
        opened = self.call(
            "POST", f"/v1/orders/{order.order_id}/payments", "/v1/orders/{id}/payments",
            {"provider": "sandbox"}, key=self.fresh_key(), expected=PAYING,
        )  # fmt: skip
        if not opened.ok:
            return False
        payment = msgspec.convert(opened.body, models.PaymentOpened)
        for attempt in range(PAGE_TRIES):
            # The provider may take a moment to know the payment.
            paid = self.call(
                "POST", payment.pay_url or "", "provider: pay", {"outcome": "pay", "late": False},
                key=self.fresh_key(), expected=frozenset({"unknown-payment", "payment-expired"}),
            )  # fmt: skip
            if paid.code != "unknown-payment":
                break
            gevent.sleep(min(1.0, 0.05 * 1.3**attempt))
        if paid.ok and paid.body.get("status") == "captured":
            self.stage.customers.paid[payment.payment_id] = payment.amount
            return True
        return False

    def browse(self, skus: list[str]) -> None:
        """Is it to be had here?"""
        query = "&".join(f"sku={sku}" for sku in skus)
        at = f"lat={self.position['lat']}&lon={self.position['lon']}"
        self.call("GET", f"/v1/availability?{query}&{at}", "/v1/availability")

    def wait_until(self, service_time: float) -> None:
        """Sleep until the service's clock says so."""
        scene = self.stage.scene
        gevent.sleep(max(0.0, scene.real_s(service_time - scene.now())))


class FlashCustomer(Customer):
    """Browses, waits out the countdown, presses at the first instant, pays or walks away."""

    wait_time = between(0.2, 1.5)

    @task
    def buy(self) -> None:
        """One customer's flash sale."""
        [spot] = [one for one in self.stage.scene.campaigns if one.kind == "flash_sale"]
        self.become_somebody()
        self.look_at(spot)
        token = ""
        if spot.queue and self.dice.random() >= SKIPS_QUEUE:
            token = self.queue(spot.campaign_id)
            if not token:
                return
        else:
            self.wait_until(spot.starts_at)
        order = self.press(spot, token)
        if order is None:
            return
        if self.dice.random() < ABANDONS:
            return
        gevent.sleep(self.dice.uniform(0.1, 0.8))
        self.pay(order)
        if self.dice.random() < COMES_AGAIN:  # a queue token is good for one order
            more = self.press(spot, token)
            if more is not None:
                self.pay(more)

    def look_at(self, spot: CampaignSpot) -> None:
        """The product page, again and again while the countdown runs."""
        while True:
            self.call("GET", f"/v1/campaigns/{spot.campaign_id}", "/v1/campaigns/{id}")
            self.browse([spot.sku])
            left_s = self.stage.scene.real_s(spot.starts_at - self.stage.scene.now())
            if left_s <= 1.0:
                return
            gevent.sleep(min(left_s - 0.5, self.dice.uniform(0.5, 2.0)))

    def press(self, spot: CampaignSpot, token: str) -> models.Order | None:
        """The button."""
        quantity = self.dice.choice((1, 1, 2, 3))  # 3 are more than anybody may have
        wish = {
            "lines": [{"sku": spot.sku, "quantity": quantity}],
            "payment": "online",
            "campaign_id": spot.campaign_id,
        }
        return self.place(wish | ({"queue_token": token} if token else {}), FLASH)


class GroupCustomer(Customer):
    """Opens a group and shares it, or joins one; many press together for a last seat."""

    wait_time = between(0.2, 1.0)

    @task
    def take_part(self) -> None:
        """One customer in one group."""
        spots = [one for one in self.stage.scene.campaigns if one.kind != "flash_sale"]
        spot = self.dice.choice(spots)
        self.become_somebody()
        self.wait_until(spot.starts_at)
        self.browse([spot.sku])
        group_id = self.shared_link(spot) or self.nearest(spot)
        order = self.place(
            {
                "lines": [{"sku": spot.sku, "quantity": 1}],
                "payment": "online",
                "campaign_id": spot.campaign_id,
                "group_id": group_id,
            },
            GROUP,
        )
        if order is None or self.dice.random() < ABANDONS:
            return
        gevent.sleep(self.dice.uniform(0.0, 0.4))
        if self.pay(order) and not group_id:
            self.share(spot, order.group_id)

    def share(self, spot: CampaignSpot, group_id: str) -> None:
        """The head sends the link to friends; they come with it before they look around."""
        links = self.stage.shared.setdefault(f"links/{spot.campaign_id}", [])
        links.extend([group_id] * max(1, spot.size - 1))

    def shared_link(self, spot: CampaignSpot) -> str:
        """The link that somebody shared; "" when there is none."""
        links: list[str] = self.stage.shared.setdefault(f"links/{spot.campaign_id}", [])
        if not links or self.dice.random() < 0.5:
            return ""
        return links.pop(0)

    def nearest(self, spot: CampaignSpot) -> str:
        """The group nearest to completion, with all who want its last seat at once; "" to open a
        group of one's own."""
        answered = self.call(
            "GET", f"/v1/campaigns/{spot.campaign_id}/groups?limit=20",
            "/v1/campaigns/{id}/groups",
        )  # fmt: skip
        if not answered.ok:
            return ""
        groups = msgspec.convert(answered.body, models.CampaignGroups).items
        if not groups or self.dice.random() < 0.15:
            return ""
        group = groups[0]
        if group.seats_free == 1 or group.missing == 1:
            self.meet(group.group_id)
        return group.group_id

    def meet(self, group_id: str) -> None:
        """Wait for the others who want this seat, then go together."""
        crowds: dict[str, tuple[Event, list[int]]]
        crowds = self.stage.shared.setdefault("last seats", {})
        if group_id not in crowds:
            crowds[group_id] = (Event(), [0])
        go, crowd = crowds[group_id]
        crowd[0] += 1
        if crowd[0] >= LAST_SEAT_CROWD:
            go.set()
        go.wait(LAST_SEAT_WAITS_S)
        crowds.pop(group_id, None)


class Shopper(Customer):
    """An ordinary customer: a basket, paid online or at the door, sometimes given up."""

    wait_time = between(1.0, 4.0)

    @task
    def shop(self) -> None:
        """One basket."""
        self.become_somebody()
        scene = self.stage.scene
        skus = self.dice.sample(scene.goods, self.dice.randint(1, 3))
        self.browse(skus)
        gevent.sleep(self.dice.uniform(0.1, 0.5))
        cod = self.dice.random() < PAYS_AT_DOOR
        text = NOBODY_HOME if self.dice.random() < NOT_AT_HOME else "Torstr. 1"
        wish = {
            "lines": [{"sku": sku, "quantity": self.dice.randint(1, 3)} for sku in skus],
            "payment": "cod" if cod else "online",
            "address": {"position": self.position, "text": text},
        }
        order = self.place(wish, GATE)
        if order is None:
            return
        if not cod:
            if self.dice.random() < ABANDONS:
                return
            self.pay(order)
        if self.dice.random() < CANCELS:
            self.call(
                "POST", f"/v1/orders/{order.order_id}/cancel", "/v1/orders/{id}/cancel",
                {"reason": "changed my mind"}, key=self.fresh_key(),
                expected=frozenset({"wrong-state", "already-left"}),
            )  # fmt: skip
        elif self.dice.random() < 0.3:
            self.call("GET", f"/v1/orders/{order.order_id}", "/v1/orders/{id}")


class SocketUser(User):
    """Somebody whose life is in the crew's process; here they only come."""

    abstract = True
    what = ""

    def on_start(self) -> None:
        """Switch the device on; it stays on until the verdict, whoever leaves before."""
        if not stage_of(self.environment).device(self.what):
            raise StopUser

    @task
    def mind(self) -> None:
        """Orders come by themselves."""
        gevent.sleep(1.0)


class TabletUser(SocketUser):
    """A store's tablet and its clerk: must see every order of the store."""

    what = "tablet"


class RiderUser(SocketUser):
    """A rider and their phone: takes offers and delivers."""

    what = "rider"


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None


def _problem_code(headers: Mapping[str, str], body: Any) -> str:
    """Of a problem document; "" if it is none."""
    is_problem = headers.get("Content-Type", "").startswith("application/problem+json")
    return str(body.get("code", "")) if is_problem and isinstance(body, dict) else ""
