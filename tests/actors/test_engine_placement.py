"""Which shard an entity belongs to, and where its shard lives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.placement import OWN_SHARDS_MAX, Plan, id_on_own_shard, own_shard_of
from actors.engine.ports import Shard

NUMBERS = st.integers(1, OWN_SHARDS_MAX)
NAMES = st.text(min_size=1, max_size=20)
IDS = st.one_of(
    st.text(max_size=20),
    st.from_regex("own[0-9]{0,4}-?[a-z]{0,3}", fullmatch=True),
    st.builds(id_on_own_shard, NUMBERS, NAMES),
)


def plan_with(own: int, shards: int = 3) -> Plan:
    groups = [["sale", "stock"], ["sale", "stock"], ["desk"]]
    return Plan.spread({"sale": shards, "stock": 2, "desk": 1}, groups, {"sale": own}, {"stock"})


@given(NUMBERS, NAMES)
def test_an_id_on_an_own_shard_says_which(number: int, name: str) -> None:
    assert own_shard_of(id_on_own_shard(number, name)) == number


@pytest.mark.parametrize("number", [-1, 0, OWN_SHARDS_MAX + 1, 1_000])
def test_a_number_that_no_id_can_say_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="not within 1 to"):
        id_on_own_shard(number, "sale")


@pytest.mark.parametrize(
    "entity",
    ["", "c4xk2mzq5vtr3", "own", "own-1", "own1-", "own0-a", "own01-a", "own100-a", "xown1-a"],
)
def test_other_ids_name_no_shard(entity: str) -> None:
    assert own_shard_of(entity) == 0


@given(IDS, st.integers(0, 5), st.integers(1, 4))
def test_an_own_shard_holds_what_names_it_and_nothing_else(
    entity: str, own: int, shards: int
) -> None:
    plan = plan_with(own, shards)
    found = plan.shard_of("sale", entity)
    assert found in plan.shards_of("sale")
    named = own_shard_of(entity)
    if 0 < named <= own:
        assert found == Shard("sale", shards + named - 1)
    else:
        assert found.number < shards
        assert found == plan_with(0, shards).shard_of("sale", entity)


@given(IDS, st.integers(0, 5), st.integers(0, 5))
def test_more_own_shards_move_nobody_who_was_placed(entity: str, before: int, more: int) -> None:
    """A name of a shard that is not there yet is never given to an entity."""
    if own_shard_of(entity) <= before:
        was, now = plan_with(before), plan_with(before + more)
        assert was.shard_of("sale", entity) == now.shard_of("sale", entity)
    assert plan_with(before).shard_of("stock", entity) == plan_with(0).shard_of("stock", entity)


@given(st.integers(0, 5), st.integers(1, 4))
def test_every_shard_has_one_node(own: int, shards: int) -> None:
    plan = plan_with(own, shards)
    hosted = [shard for node in plan.hosts.values() for shard in node]
    assert sorted(hosted) == sorted(plan.all_shards())
    assert len(plan.shards_of("sale")) == shards + own


def test_own_shards_keep_apart_where_they_can() -> None:
    plan = plan_with(2)
    assert [plan.node_of[shard] for shard in plan.shards_of("sale")[3:]] == ["node-2", "node-2"]
    alone = Plan.spread({"sale": 1, "stock": 1}, [["sale", "stock"]], {"sale": 2}, {"stock"})
    assert set(alone.node_of.values()) == {"node-0"}


def test_own_shards_prefer_the_node_with_the_least_to_do() -> None:
    groups = [["stock"], ["sale", "desk"], ["sale"], ["sale"]]
    plan = Plan.spread({"stock": 1, "sale": 1, "desk": 1}, groups, {"sale": 2}, {"stock"})
    assert [plan.node_of[Shard("sale", number)] for number in (1, 2)] == ["node-2", "node-3"]


def test_a_plan_cannot_have_more_own_shards_than_ids_can_say() -> None:
    with pytest.raises(ValueError, match="at most"):
        plan_with(OWN_SHARDS_MAX + 1)
