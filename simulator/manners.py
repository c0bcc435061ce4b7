"""How people behave: the shares of everything that can happen, and the drawing of it per person."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from simulator.plan import SPEED_MPS, ClerkPlan, OrderPlan, RiderPlan, chance

__all__ = ["Manners", "of_clerk", "of_customer", "of_rider", "pick"]

FIRST_NAMES = ("Ana", "Luis", "Mei", "Tomás", "Sara", "Jonas", "Aiko", "Pau", "Noor", "Iris")
LAST_NAMES = ("Rojas", "Weber", "Chen", "García", "Novak", "Sato", "Costa", "Haddad", "Lind")
NOTES = (1_000, 2_000, 5_000, 10_000)


@dataclass(frozen=True, slots=True)
class Manners:
    """Shares (0 to 1) of what people do; each is drawn per person from the day's seed."""

    cod: float = 0.3
    pickup: float = 0.08
    unpaid: float = 0.03
    pays_late: float = 0.02
    pays_twice: float = 0.01
    cancels_early: float = 0.03
    cancels_late: float = 0.02
    repeats: float = 0.05
    watches: float = 0.25
    refuses: float = 0.015
    absent: float = 0.015
    slow_clerks: float = 0.15
    """Share of stores whose staff is slow and sometimes forgets a ticket."""
    rejects: float = 0.01
    shorts: float = 0.02
    substitutes: float = 0.02
    unwanted: float = 0.02
    damages: float = 0.1
    declines: float = 0.06
    goes_dark: float = 0.03
    miscounts: float = 0.02

    @classmethod
    def of_a_recorded_day(cls) -> "Manners":
        """As usual, but nobody collects in person: all recorded orders were delivered."""
        return cls(pickup=0.0)


def of_customer(order: OrderPlan, manners: Manners, seed: int) -> OrderPlan:
    """The order with its customer's behaviour drawn in (seeded by its key)."""
    draw = chance(seed, "customer", order.key)
    delivery = "pickup" if order.store_id and draw.random() < manners.pickup else order.delivery
    payment = "cod" if draw.random() < manners.cod else "online"
    pays, pay_after_s = _payment(draw, manners)
    cancels = pick(draw, (("early", manners.cancels_early), ("late", manners.cancels_late)), "")
    door = pick(draw, (("refused", manners.refuses), ("absent", manners.absent)), "opens")
    return replace(
        order,
        delivery=delivery,
        payment=payment,
        pays=pays,
        pay_after_s=pay_after_s,
        cancels=cancels,
        door=door,
        repeats=draw.randint(1, 2) if draw.random() < manners.repeats else 0,
        watches=draw.random() < manners.watches,
        note_value=draw.choice((0, *NOTES)) if payment == "cod" else 0,
        name=f"{draw.choice(FIRST_NAMES)} {draw.choice(LAST_NAMES)}",
        phone=f"+5730{draw.randint(10_000_000, 99_999_999)}",
    )


def of_clerk(store_id: str, manners: Manners, seed: int) -> ClerkPlan:
    """The ways of one store's staff."""
    draw = chance(seed, "clerk", store_id)
    slow = draw.random() < manners.slow_clerks
    return ClerkPlan(
        accept_after_s=draw.uniform(50, 110) if slow else draw.uniform(10, 40),
        line_s=draw.uniform(30, 60) if slow else draw.uniform(12, 30),
        pace=draw.uniform(1.3, 1.8) if slow else draw.uniform(0.8, 1.2),
        forgets=0.03 if slow else 0.0,
        rejects=manners.rejects,
        shorts=manners.shorts,
        substitutes=manners.substitutes,
        unwanted=manners.unwanted,
        presses_hand_over=0.3,
        damages=manners.damages,
    )


def of_rider(rider: RiderPlan, manners: Manners, seed: int) -> RiderPlan:
    """The rider with their ways drawn in (seeded by their id)."""
    draw = chance(seed, "rider", rider.rider_id)
    return replace(
        rider,
        declines=manners.declines * draw.uniform(0.0, 2.0),
        goes_dark=manners.goes_dark * draw.uniform(0.0, 2.0),
        miscounts=manners.miscounts,
        capacity=2 if rider.vehicle == "walking" else 3 if rider.vehicle != "car" else 5,
        speed_mps=rider.speed_mps or SPEED_MPS[rider.vehicle] * draw.uniform(0.85, 1.15),
    )


def _payment(draw: Random, manners: Manners) -> tuple[str, float]:
    pays = pick(
        draw,
        (
            ("never", manners.unpaid),
            ("late", manners.pays_late),
            ("twice", manners.pays_twice),
        ),
        "at_once",
    )
    return pays, draw.uniform(5.0, 60.0)


def pick(draw: Random, shares: Sequence[tuple[str, float]], otherwise: str) -> str:
    """One of the named things by its share, else ``otherwise``; always one draw."""
    dice = draw.random()
    for name, share in shares:
        if dice < share:
            return name
        dice -= share
    return otherwise
