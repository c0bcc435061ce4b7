"""Group-buy through order, campaign, customer and stock (DOMAIN, Group-buy)."""

from datetime import datetime
from typing import Any

import pytest

from actors.engine.kind import Wake
from actors.order.claiming import ASKING_S, HOLD_GRACE_S
from domain import campaign, store
from domain.customer import RecordOutcome
from domain.errors import Refused, Unavailable
from domain.notice import Notify
from domain.order import commands
from domain.wire import moment
from tests.fakes.campaign_world import CAMPAIGN, CampaignWorld, group_terms, order_id
from tests.fakes.order_world import START

LADDER = {
    "kind": "ladder", "size": 2, "steps": (campaign.Step(3, 500), campaign.Step(4, 400)),
}  # fmt: skip
NEWCOMERS: dict[str, Any] = {"kind": "newcomers", "size": 3, "open_s": 3_000.0}


def groups(rule: dict[str, Any] | None = None, **changes: Any) -> CampaignWorld:
    return CampaignWorld(group_terms(rule, **changes))


def joined(world: CampaignWorld, *numbers: int, pay: bool = True) -> str:
    """The first opens a group, the others join it."""
    group_id = ""
    for number in numbers:
        group_id = world.place(number, group_id=group_id).group_id
        if pay:
            world.pay(number)
    return group_id


def states(world: CampaignWorld, *numbers: int) -> list[str]:
    return [world.order_of(number).state for number in numbers]


def parts(world: CampaignWorld, *numbers: int) -> list[str]:
    return [part.state for number in numbers for part in world.order_of(number).parts]


def told_of_new_group(world: CampaignWorld, number: int) -> list[tuple[str, datetime]]:
    """(the group, its end) of each notice that made the order's customer a head."""
    return [
        (one.facts["group_id"], datetime.fromisoformat(one.facts["closes_at"]))
        for one in world.sent_by(number, Notify)
        if one.template == "head-of-new-group"
    ]


def test_a_group_forms_when_its_last_member_pays_and_its_orders_go_to_the_stores_together() -> None:
    world = groups()
    group_id = joined(world, 1, 2)
    assert parts(world, 1, 2) == ["held", "held"]
    assert not world.sent_by(1, store.OpenTicket)
    world.place(3, group_id=group_id)
    world.pay(3)
    assert parts(world, 1, 2, 3) == ["new", "new", "new"]
    for number in (1, 2, 3):
        assert len(world.sent_by(number, store.OpenTicket)) == 1
        assert world.told(number) == ["group-formed"]
        assert world.refunds(number) == 0
    assert world.view().tally == campaign.Tally(7, 0, 3, 0)
    assert world.view().formed_groups == 1
    world.check_at_rest()


def test_a_group_that_is_not_full_in_time_fails_and_every_payment_goes_back_once() -> None:
    world = groups()
    joined(world, 1, 2)
    world.at(600)
    assert states(world, 1, 2) == ["cancelled", "cancelled"]
    for number in (1, 2):
        assert world.refunds(number) == world.order_of(number).total
        assert world.told(number) == ["group-failed"]
        assert not world.sent_by(number, store.OpenTicket)
    assert world.view().tally == campaign.Tally(10, 0, 0, 0)
    told = [one for one in world.every_send if isinstance(one[1].command, commands.RecordGroup)]
    for _, send in told:  # delivered again, as after a restart of the campaign
        world.ask(send.to, send.command)
        world.run()
    assert world.refunds(1) == world.order_of(1).total
    world.check_at_rest()


def test_a_seat_is_claimed_at_placing_and_a_full_group_takes_nobody() -> None:
    world = groups()
    group_id = joined(world, 1, 2, 3, pay=False)
    assert world.refusal(4, group_id=group_id).code == "group-full"
    world.at(300)  # nobody paid: the seats are free, and with them goes the group
    assert world.refusal(4, group_id=group_id).code == "group-closed"


def test_an_unpaid_seat_is_free_again_for_another_member() -> None:
    world = groups()
    group_id = joined(world, 1, 2)
    world.place(3, group_id=group_id)
    assert world.refusal(4, group_id=group_id).code == "group-full"
    world.at(300)
    world.place(4, group_id=group_id)
    world.pay(4)
    assert parts(world, 1, 2, 4) == ["new", "new", "new"]
    assert world.order_of(3).state == "cancelled"


@pytest.mark.parametrize("late", ["refund", "head_of_new_group"])
def test_however_many_pay_for_the_last_seat_at_one_instant_one_gets_it(late: str) -> None:
    world = groups({"late": late, "open_s": 3_000.0}, pay_s=60.0)
    group_id = joined(world, 1, 2)
    rivals = (3, 4, 5, 6)
    for turn, number in enumerate(rivals, 1):
        world.place(number, group_id=group_id)
        world.start_payment(number)
        if number != rivals[-1]:
            world.at(100 * turn)
    for number in rivals:  # all captured before anything of it reaches the campaign
        world.capture(number)
    world.run()
    assert world.campaign_state.formed == 1
    formed = [
        number for number in (1, 2, *rivals)
        if world.order_of(number).group_id == group_id
        and world.order_of(number).parts[0].state == "new"
    ]  # fmt: skip
    assert len(formed) == 3
    losers = [number for number in rivals if number not in formed]
    if late == "refund":
        for number in losers:
            assert world.order_of(number).state == "cancelled"
            assert world.refunds(number) == world.order_of(number).total
        return
    heads = {world.order_of(number).group_id for number in losers}
    assert len(heads) == len(losers)
    assert group_id not in heads
    assert parts(world, *losers) == ["held"] * len(losers)
    assert all(not world.refunds(number) for number in losers)
    world.at(3_600)
    for number in losers:  # their groups failed: once, and all of it
        assert world.refunds(number) == world.order_of(number).total
    world.check_at_rest()


def test_money_that_races_with_the_groups_end_is_counted_if_it_came_in_time() -> None:
    world = groups()
    group_id = joined(world, 1, 2)
    world.at(590)
    world.place(3, group_id=group_id)
    world.start_payment(3)
    world.at(600)
    assert world.campaign_state.groups[group_id].paid == 2
    world.pay(3)
    assert parts(world, 1, 2, 3) == ["new", "new", "new"]


def test_money_after_the_groups_end_follows_the_policy() -> None:
    world = groups({"late": "refund"})
    group_id = joined(world, 1, 2)
    world.at(590)
    world.place(3, group_id=group_id)
    world.start_payment(3)
    world.at(640)
    assert states(world, 1, 2, 3) == ["cancelled"] * 3
    world.pay(3)
    assert world.refunds(3) == world.order_of(3).total
    assert world.refunds(1) == world.order_of(1).total


def test_late_money_of_a_member_who_has_joined_anew_makes_them_the_head_of_another_group() -> None:
    world = groups({"late": "head_of_new_group"}, pay_s=60.0)
    group_id = joined(world, 1, 2)
    world.place(3, group_id=group_id, customer="late")
    world.start_payment(3)
    world.at(100)
    world.place(4, group_id=group_id, customer="late")
    world.capture(3)
    world.run()
    order = world.order_of(3)
    assert (order.state, order.heads_group, order.group_id != group_id) == ("paid", True, True)
    assert world.refunds(3) == 0
    assert told_of_new_group(world, 3) == [(order.group_id, moment(world.now + 600.0))]
    assert not told_of_new_group(world, 4), "who is in the group that was joined"


def test_a_late_payer_who_gets_a_seat_of_the_same_group_again_hears_of_no_new_one() -> None:
    world = groups({"late": "head_of_new_group"}, pay_s=60.0)
    group_id = joined(world, 1, 2)
    world.place(3, group_id=group_id)
    world.start_payment(3)
    world.at(100)
    world.capture(3)
    world.run()
    assert world.order_of(3).group_id == group_id
    assert world.told(3) == ["group-formed"]


class Lossy(CampaignWorld):
    """An order dies when its campaign has just answered its claim: the one after ``lose``."""

    lose = False

    def _asked(self, to: str, question: Any) -> Any:
        answer = super()._asked(to, question)
        if self.lose and isinstance(question, campaign.Claim):
            self.lose = False
            raise Unavailable("died", "The order's process is gone.")
        return answer


@pytest.mark.parametrize(
    ("open_s", "sale_s"),
    [(600.0, 3_600.0), (600.0, 300.0), (50.0, 3_600.0)],
    ids=["by its time", "with its campaign", "before a claim would"],
)
def test_a_new_head_is_told_the_end_of_the_group_however_late_the_answer_comes(
    open_s: float, sale_s: float
) -> None:
    rule = {"late": "head_of_new_group", "open_s": open_s}
    world = Lossy(group_terms(rule, pay_s=60.0, ends_at=START + sale_s))
    group_id = joined(world, 1, 2)
    world.place(3, group_id=group_id)
    world.start_payment(3)
    world.at(100)
    if open_s > 100:
        world.place(4, group_id=group_id)
        world.pay(4)
    world.lose = True
    with pytest.raises(Unavailable, match="died"):
        world.capture(3)
    world.now += 5
    world.capture(3)
    world.run()
    (group,) = world.groups()
    assert group.closes_at == START + min(100 + open_s, sale_s)
    assert told_of_new_group(world, 3) == [(group.group_id, moment(group.closes_at))]


def test_a_seat_lost_between_payment_and_confirmation_makes_a_late_payer() -> None:
    for late, end in (("refund", "cancelled"), ("head_of_new_group", "paid")):
        world = groups({"late": late})
        group_id = joined(world, 1, 2)
        world.at(599)
        world.place(3, group_id=group_id)
        world.start_payment(3)
        world.capture(3)
        kept, world.queue = list(world.queue), []
        world.at(630)  # the confirmation is still under way: the group fails without it
        world.queue += kept
        world.run()
        assert world.order_of(3).state == end
        if end == "paid":
            (group,) = world.groups()
            assert world.order_of(3).group_id == group.group_id != group_id
            assert told_of_new_group(world, 3) == [(group.group_id, moment(group.closes_at))]
            assert parts(world, 3) == ["held"]
            assert world.refunds(3) == 0
        else:
            assert world.refunds(3) == world.order_of(3).total
        world.check_at_rest()


def test_a_paid_member_who_cancels_before_the_group_forms_leaves_a_free_seat() -> None:
    world = groups()
    group_id = joined(world, 1, 2)
    world.ask(f"order/{order_id(2)}", commands.Cancel("changed my mind"))
    world.run()
    assert world.refunds(2) == world.order_of(2).total
    for number in (3, 4):
        world.place(number, group_id=group_id)
        world.pay(number)
    assert parts(world, 1, 3, 4) == ["new"] * 3


def test_a_cancel_that_crosses_the_forming_returns_the_units_to_the_campaign() -> None:
    world = groups()
    group_id = joined(world, 1, 2)
    world.place(3, group_id=group_id)
    world.start_payment(3)
    world.capture(3)
    while not any(isinstance(s.command, commands.RecordGroup) for _, s in world.queue):
        world.deliver(0)
    world.ask(f"order/{order_id(1)}", commands.Cancel("no"))  # formed, but not told yet
    world.run()
    assert world.order_of(1).state == "cancelled"
    assert world.refunds(1) == world.order_of(1).total
    assert parts(world, 2, 3) == ["new", "new"]
    assert world.view().tally == campaign.Tally(8, 0, 2, 0)
    world.check_at_rest()


def test_a_member_cannot_take_two_seats_of_one_group() -> None:
    world = groups()
    group_id = world.place(1, customer="c-9").group_id
    assert world.refusal(2, customer="c-9", group_id=group_id).code == "already-member"
    assert world.refusal(2, group_id="c-1:77").code == "unknown-group"


def test_newcomers_join_and_anyone_opens() -> None:
    world = groups({"kind": "newcomers", "size": 2})
    world.place(1, campaign_id="", customer="c-old")
    world.pay(1)
    group_id = world.place(2, customer="c-old").group_id
    assert world.place(3, customer="c-new", group_id=group_id).state == "placed"
    other = world.place(4, customer="c-x").group_id
    assert world.refusal(5, customer="c-old", group_id=other).code == "not-newcomer"


def test_a_newcomer_cannot_be_new_in_two_groups_and_stays_new_when_a_group_fails() -> None:
    world = groups({"kind": "newcomers", "size": 2})
    first = world.place(1).group_id
    second = world.place(2).group_id
    world.place(3, customer="c-new", group_id=first)
    assert world.refusal(4, customer="c-new", group_id=second).code == "not-newcomer"
    world.pay(3)
    assert world.refusal(4, customer="c-new", group_id=second).code == "not-newcomer"
    world.at(600)
    assert world.order_of(3).state == "cancelled"
    third = world.place(5).group_id
    world.place(6, customer="c-new", group_id=third)


def test_a_newcomer_who_did_not_pay_is_still_new() -> None:
    world = groups({"kind": "newcomers", "size": 2}, pay_s=60.0)
    first = world.place(1).group_id
    world.pay(1)
    world.place(2, customer="c-new", group_id=first)
    world.at(60)
    assert world.order_of(2).state == "cancelled"
    world.place(3, customer="c-new", group_id=first)


def test_a_newcomer_who_paid_and_cancelled_before_the_group_formed_is_still_new() -> None:
    world = groups(NEWCOMERS)
    group_id = joined(world, 1)
    world.place(2, customer="c-new", group_id=group_id)
    world.pay(2)
    assert parts(world, 2) == ["held"]
    world.ask(f"order/{order_id(2)}", commands.Cancel("changed my mind", "customer"))
    world.run()
    assert (states(world, 2), world.refunds(2)) == (["cancelled"], world.order_of(2).total)
    assert world.place(3, customer="c-new", group_id=group_id).state == "placed"


def test_a_newcomer_who_cancels_after_the_group_formed_is_new_no_more() -> None:
    world = groups(NEWCOMERS)
    group_id = joined(world, 1, 2)
    world.place(3, customer="c-new", group_id=group_id)
    world.pay(3)
    world.ask(f"order/{order_id(3)}", commands.Cancel("changed my mind", "customer"))
    world.run()
    assert states(world, 3) == ["cancelled"]
    other = world.place(4).group_id
    assert world.refusal(5, customer="c-new", group_id=other).code == "not-newcomer"


def test_a_newcomer_has_one_seat_for_as_long_as_it_may_be_paid() -> None:
    rule = NEWCOMERS | {"open_s": 9_000.0}
    world = groups(rule, pay_s=3_600.0, ends_at=START + 20_000)
    first = world.place(1).group_id
    second = world.place(2).group_id
    world.place(3, customer="c-new", group_id=first)
    for seconds in (10, 1_000, 3_599):
        world.at(seconds)
        assert world.refusal(4, customer="c-new", group_id=second).code == "not-newcomer"
    world.pay(3)
    world.at(6_000)
    third = world.place(5).group_id
    assert world.refusal(4, customer="c-new", group_id=third).code == "not-newcomer"


def test_a_seat_that_was_not_to_be_had_leaves_a_newcomer_free_to_join_another_group() -> None:
    world = groups(NEWCOMERS | {"size": 2})
    full = world.place(1).group_id
    world.place(2, group_id=full)
    other = world.place(3).group_id
    assert world.refusal(4, customer="c-new", group_id=full).code == "group-full"
    world.at(ASKING_S)
    assert world.place(5, customer="c-new", group_id=other).state == "placed"


def test_an_order_that_died_with_its_seat_does_not_hold_the_privilege_for_ever() -> None:
    world = groups(NEWCOMERS, pay_s=60.0, ends_at=START + 20_000)
    first = world.place(1).group_id
    world.pay(1)
    world.place(2, customer="c-new", group_id=first)
    del world.states[f"order/{order_id(2)}"]
    world.at(60 + HOLD_GRACE_S - 1)
    assert world.refusal(3, customer="c-new", group_id=first).code == "not-newcomer"
    world.at(60 + HOLD_GRACE_S)
    world.place(3, customer="c-new", group_id=first)


@pytest.mark.parametrize("late", ["refund", "head_of_new_group"])
@pytest.mark.parametrize("paid", [True, False])
def test_a_late_payer_who_has_a_newcomers_seat_elsewhere_does_not_come_back(
    late: str, paid: bool
) -> None:
    world = groups(NEWCOMERS | {"late": late}, pay_s=60.0)
    first, second = (world.place(number).group_id for number in (1, 2))
    for number in (1, 2):
        world.pay(number)
    world.place(3, customer="c-new", group_id=first)
    world.start_payment(3)
    world.at(100)
    assert world.order_of(3).state == "cancelled"
    world.place(4, customer="c-new", group_id=second)
    if paid:
        world.pay(4)
    for _ in range(2):  # the provider tells it twice
        world.capture(3)
        world.run()
    if not paid:
        world.pay(4)
    order = world.order_of(3)
    assert world.order_of(4).group_id == second
    assert parts(world, 4) == ["held"]
    assert world.refunds(4) == 0
    if late == "refund":
        assert order.state == "cancelled"
        assert world.refunds(3) == order.total
        assert world.told(3) == ["payment-returned"]
    else:
        assert order.group_id not in (first, second), "anyone may open a group"
        assert parts(world, 3) == ["held"]
        assert world.refunds(3) == 0
    assert len(world.campaign_state.members[first]) == 1
    world.check_at_rest()
    world.at(3_600)
    assert [world.refunds(n) for n in (3, 4)] == [world.order_of(n).total for n in (3, 4)]
    world.check_at_rest()


def test_a_late_payer_who_is_still_new_comes_back_and_is_new_nowhere_else() -> None:
    world = groups(NEWCOMERS, pay_s=60.0)
    first, second = (world.place(number).group_id for number in (1, 2))
    for number in (1, 2):
        world.pay(number)
    world.place(3, customer="c-new", group_id=first)
    world.start_payment(3)
    world.at(60)  # the provider is asked once more
    world.now += 20
    world.ask(f"order/{order_id(3)}", Wake())
    assert world.order_of(3).state == "cancelled"
    void = [one for one in world.queue if isinstance(one[1].command, RecordOutcome)]
    assert [one[1].command.outcome for one in void] == ["void", "expired"]
    world.queue = [one for one in world.queue if one not in void]
    world.run()
    world.capture(3)
    world.queue += void[:1]  # the word of the claim that expired is late
    assert world.refusal(4, customer="c-new", group_id=second).code == "not-newcomer"
    world.run()
    world.queue += void  # ... or comes when all is done
    world.run()
    assert world.order_of(3).group_id == first
    assert parts(world, 3) == ["held"]
    assert world.refusal(4, customer="c-new", group_id=second).code == "not-newcomer"
    world.at(3_000)  # the group fails: who bought nothing is still new
    third = world.place(5).group_id
    world.place(6, customer="c-new", group_id=third)


@pytest.mark.parametrize("late", ["refund", "head_of_new_group"])
@pytest.mark.parametrize("customer", ["c-new", "c-old"])
def test_who_opened_a_newcomers_group_and_paid_late_comes_back_to_it(
    customer: str, late: str
) -> None:
    world = groups(NEWCOMERS | {"late": late}, pay_s=60.0)
    world.place(1, campaign_id="", customer="c-old")
    world.pay(1)
    group_id = world.place(2, customer=customer).group_id
    world.start_payment(2)
    world.place(3, group_id=group_id)
    world.pay(3)
    world.at(100)
    world.pay(2)
    assert world.order_of(2).group_id == group_id, "anyone may open"
    assert parts(world, 2) == ["held"]
    assert world.refunds(2) == 0
    world.check_at_rest()


def test_who_was_made_the_head_of_a_newcomers_group_comes_back_to_that_one_too() -> None:
    world = groups(NEWCOMERS | {"late": "head_of_new_group"}, pay_s=60.0)
    first = world.place(1).group_id
    world.pay(1)
    world.place(2, customer="c-new", group_id=first)
    world.start_payment(2)
    world.at(100)
    world.place(3, campaign_id="", customer="c-new")
    world.pay(3)  # no newcomer any more
    world.capture(2)
    second = world.order_of(2).group_id
    assert second != first
    kept = [one for one in world.queue if isinstance(one[1].command, campaign.Confirm)]
    world.queue = [one for one in world.queue if one not in kept]
    claim_id = world.order_of(2).claim_id
    world.place(4, group_id=second)
    world.ask(CAMPAIGN, campaign.Unclaim(claim_id, "its silence was taken for a no"))
    world.queue += kept
    world.run()
    assert world.order_of(2).group_id == second
    assert parts(world, 2) == ["held"]


def test_ending_it_tells_those_who_have_not_paid_and_late_money_goes_back() -> None:
    world = groups({"open_s": 3_000.0}, pay_s=86_400.0, ends_at=START + 100_000)
    group_id = world.place(1).group_id
    world.pay(1)
    for number in (2, 3):
        world.place(number, group_id=group_id)
        world.start_payment(number)
    world.ask(CAMPAIGN, campaign.End("ops:ana", "a mistake"))
    world.run()
    world.at(31)
    assert states(world, 1, 2, 3) == ["cancelled"] * 3
    assert [world.told(number) for number in (1, 2)] == [["group-failed"], ["seat-void"]]
    assert world.refunds(1) == world.order_of(1).total
    assert world.refunds(2) == 0
    world.pay(3)
    assert world.order_of(3).state == "cancelled"
    assert world.refunds(3) == world.order_of(3).total
    assert world.told(3) == ["seat-void", "payment-returned"]
    world.check_at_rest()


def test_a_ladder_closes_at_its_end_and_refunds_the_difference_once() -> None:
    world = groups(LADDER)
    joined(world, 1, 2, 3)
    assert parts(world, 1, 2, 3) == ["held"] * 3
    world.at(600)
    assert world.campaign_state.formed == 1
    for number in (1, 2, 3):
        assert world.refunds(number) == 100
        assert parts(world, number) == ["new"]
    told = [one for one in world.every_send if isinstance(one[1].command, commands.RecordGroup)]
    for _, send in told:
        world.ask(send.to, send.command)
        world.run()
    assert world.refunds(1) == 100


def test_a_full_ladder_closes_at_once_at_its_best_price() -> None:
    world = groups(LADDER)
    joined(world, 1, 2, 3, 4)
    assert parts(world, 1, 2, 3, 4) == ["new"] * 4
    assert [world.refunds(number) for number in (1, 2, 3, 4)] == [200] * 4


def test_a_ladder_below_its_size_fails_and_below_its_first_step_costs_the_opening_price() -> None:
    world = groups(LADDER)
    joined(world, 1)
    joined(world, 2, 3)
    world.at(600)
    assert states(world, 1, 2, 3) == ["cancelled", "paid", "paid"]
    assert [world.refunds(number) for number in (2, 3)] == [0, 0]


def test_refunding_all_of_a_ladder_order_returns_exactly_what_was_paid() -> None:
    world = groups(LADDER)
    group_id = world.place(1, 3).group_id
    world.pay(1)
    joined_more = (2, 3)
    for number in joined_more:
        world.place(number, group_id=group_id)
        world.pay(number)
    world.at(600)
    order = world.order_of(1)
    assert world.refunds(1) == 300
    line = order.lines[0].line_id
    world.ask(
        f"order/{order_id(1)}",
        commands.RefundLines("r-1", (commands.RefundUnits(line, 1),), "broken", "ops"),
    )
    world.run()
    assert world.refunds(1) == 300 + 500
    world.ask(f"order/{order_id(1)}", commands.Cancel("no"))
    world.run()
    assert world.refunds(1) == order.total


def test_on_formation_units_leave_the_quota_only_when_a_group_forms() -> None:
    quota = (campaign.Share("s-1", 4),)
    world = groups({"size": 2, "stock": "on_formation"}, quota=quota)
    first = world.place(1).group_id
    world.pay(1)
    assert world.view().tally == campaign.Tally(4, 0, 0, 0)
    joined(world, 2, 3)
    assert world.view().tally == campaign.Tally(2, 0, 2, 0)
    joined(world, 4, 5)
    assert world.view().tally == campaign.Tally(0, 0, 4, 0)
    assert world.refusal(6).code == "campaign-sold-out"
    assert world.refusal(6, group_id=first).code == "campaign-sold-out"
    world.at(600)
    assert world.refunds(1) == world.order_of(1).total
    world.check_at_rest()


def test_on_formation_paying_ends_when_formed_groups_have_used_the_quota_up() -> None:
    quota = (campaign.Share("s-1", 4),)
    world = groups({"size": 2, "stock": "on_formation", "buffer": 2}, quota=quota)
    first = world.place(1).group_id
    world.place(2, group_id=first)
    world.pay(1)
    joined(world, 3, 4)
    assert world.view().remaining == 0
    with pytest.raises(Refused, match="campaign-sold-out"):
        world.start_payment(2)
    assert world.refusal(5).code == "campaign-sold-out"


def test_the_buffer_serves_payments_that_were_under_way() -> None:
    quota = (campaign.Share("s-1", 4),)
    world = groups({"size": 2, "stock": "on_formation", "buffer": 2}, quota=quota)
    first = world.place(1).group_id
    world.place(2, group_id=first)
    world.pay(1)
    world.start_payment(2)
    joined(world, 3, 4)
    world.pay(2)
    assert parts(world, 1, 2) == ["new", "new"]
    assert world.view().tally == campaign.Tally(0, 0, 4, 0)
    world.check_at_rest()


def test_on_formation_a_full_group_without_units_fails_and_is_refunded() -> None:
    quota = (campaign.Share("s-1", 2),)
    world = groups({"size": 2, "stock": "on_formation"}, quota=quota)
    first = world.place(1).group_id
    world.place(2, group_id=first)
    world.pay(1)
    world.start_payment(2)
    joined(world, 3, 4)
    world.pay(2)
    assert states(world, 1, 2) == ["cancelled", "cancelled"]
    assert [world.refunds(n) for n in (1, 2)] == [world.order_of(n).total for n in (1, 2)]
    assert world.view().tally == campaign.Tally(0, 0, 2, 0)


def test_ending_the_campaign_fails_its_open_groups() -> None:
    world = groups()
    joined(world, 1, 2)
    world.at(10)
    world.ask(CAMPAIGN, campaign.End("ops:ana", "stop"))
    world.at(11)
    assert states(world, 1, 2) == ["cancelled", "cancelled"]
    assert world.view().tally == campaign.Tally(0, 0, 0, 10)
    assert world.reserved() == 0


def test_on_formation_open_groups_may_still_form_while_the_end_waits_for_them() -> None:
    world = groups({"size": 2, "stock": "on_formation"}, ends_at=START + 100)
    first = world.place(1).group_id
    world.place(2, group_id=first)
    world.pay(1)
    world.start_payment(2)
    world.at(100)
    assert world.view().tally == campaign.Tally(2, 0, 0, 8)
    world.pay(2)
    assert parts(world, 1, 2) == ["new", "new"]
    assert world.view().tally == campaign.Tally(0, 0, 2, 8)
    assert world.reserved() == 0


def test_groups_near_completion_are_listed_first_and_full_ones_not() -> None:
    world = groups()
    far = joined(world, 1)
    near = joined(world, 2, 3)
    full = joined(world, 4, 5, 6, pay=False)
    assert [group.group_id for group in world.groups()] == [near, far, full][:2]
    assert [group.group_id for group in world.groups(near_completion=1)] == [near]
    (group,) = world.groups(near_completion=1)
    assert (group.paid, group.missing, group.seats_free, group.size) == (2, 1, 1, 3)


@pytest.mark.parametrize(("rule", "changes", "field"), [
    ({"size": 1}, {}, "group.size"),
    ({"kind": "crowd"}, {}, "group.kind"),
    ({"kind": "ladder"}, {}, "group.steps"),
    ({"steps": (campaign.Step(3, 500),)}, {}, "group.steps"),
    ({"kind": "ladder", "steps": (campaign.Step(4, 5), campaign.Step(3, 4))}, {}, "group.steps"),
    ({"kind": "ladder", "steps": (campaign.Step(4, 700),)}, {}, "group.steps"),
    ({"buffer": 3}, {}, "group.buffer"),
    ({"stock": "on_formation", "buffer": 10}, {}, "group.buffer"),
    ({"size": 11}, {}, "group.size"),
    ({"late": "keep"}, {}, "group.late"),
    ({"stock": "never"}, {}, "group.stock"),
    ({}, {"kind": "auction"}, "kind"),
    ({}, {"price": -1}, "price"),
    ({}, {"price": 1001}, "price"),
    ({}, {"ends_at": START}, "ends_at"),
    ({}, {"quota": ()}, "quota"),
    ({}, {"quota": (campaign.Share("s-1", 0),)}, "quota"),
    ({}, {"currency": "USD"}, "currency"),
])  # fmt: skip
def test_terms_that_cannot_be_kept_are_refused(
    rule: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    world = CampaignWorld()
    with pytest.raises(Refused) as refused:
        world.ask(CAMPAIGN, campaign.Open(group_terms(rule, **changes), "ops"))
    assert refused.value.code == "wrong-terms"
    assert refused.value.extra["field"] == field
