"""Work that can wait lets the others go first, but not for ever."""

from orchestrator.pace import FULL, LOOK_S, Pace, _Processors


class Machine:
    """A clock that goes on while one waits, and a machine that is full until some time."""

    speed = 10.0

    def __init__(self, full_until: float) -> None:
        self.at = 0.0
        self.full_until = full_until

    def now(self) -> float:
        return self.at * self.speed

    async def sleep(self, seconds: float) -> None:
        self.at += seconds

    def others_share(self) -> float:
        return FULL + 0.1 if self.at < self.full_until else 0.3


async def waited(machine: Machine, behind_s: float) -> float:
    await Pace(machine, behind_s, machine.others_share, sleep=machine.sleep).turn(0.0)
    return round(machine.at, 1)


async def test_on_a_machine_with_room_nothing_waits() -> None:
    assert await waited(Machine(full_until=0.0), behind_s=5.0) == 0.0


async def test_while_others_need_the_machine_it_waits() -> None:
    assert await waited(Machine(full_until=2.0), behind_s=5.0) == 2.0


async def test_it_is_never_behind_by_more_than_its_bound_in_real_seconds() -> None:
    assert 5.0 <= await waited(Machine(full_until=60.0), behind_s=5.0) <= 5.0 + LOOK_S


async def test_without_a_bound_to_be_behind_it_never_waits() -> None:
    assert await waited(Machine(full_until=60.0), behind_s=0.0) == 0.0


def test_the_share_of_others_is_a_share() -> None:
    processors = _Processors()
    assert 0.0 <= processors.others_share() <= 1.0
