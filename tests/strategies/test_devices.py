"""Many devices choose what one does, in one process and in two.

Sums over devices round otherwise than those of one, in the seventh digit. That decides
where two choices are equally good, and none of these are: distances of points drawn at
random are not, and for BAIT, whose effects lie close together, the next best is looked
at.
"""

import pytest

from aljax.machine.devices import choose_devices
from aljax.strategies import STRATEGIES, Options
from tests.machine.test_processes import together_do
from tests.strategies.test_bait import definition
from tests.support.queries import POOLS, make_query, outputs

pytestmark = pytest.mark.slow
BATCH = ("k_center", "badge", "cluster_margin", "typiclust", "bait")
SMALL = ("plain", "all bought", "none labelled", "two classes", "class missing")
FORMS = ("binary", "full")
BUDGETS = {"bait": 16}  # of the large pool; 60 of the others
COMBINATIONS = [("shard_map", 1), ("shard_map", 4), ("pmap", 4)]


def large(form, budget, devices):
    """Rows that no number of devices divides, of several tiles on each."""
    options = Options(clusters=30, neighbours=6, fisher=form)
    more = dict(options=options, most_candidates=0, devices=devices)
    return make_query(outputs(2501), budget, outputs(37, seed=1), seed=3, **more)


def queries(name, devices):
    for pool in SMALL:
        yield pool, POOLS[pool](devices=devices)
    for form in FORMS:
        yield form, large(form, BUDGETS.get(name, 60), devices)


def choices(combinations):
    """(executor, devices) -> strategy -> pool -> what is chosen."""
    found = {}
    for executor, count in combinations:
        devices = choose_devices(count, executor)
        for name in BATCH:
            for pool, query in queries(name, devices):
                chosen = STRATEGIES[name].select(query).tolist()
                found[executor, count, name, pool] = chosen
    return found


@pytest.fixture(scope="module")
def one_process():
    """What 1 and 4 devices choose, by either executor."""
    return together_do(choices, 1, 4, COMBINATIONS)[0]


@pytest.mark.parametrize("pool", [*SMALL, *FORMS])
@pytest.mark.parametrize("name", BATCH)
def test_any_number_of_devices_chooses_the_same(one_process, name, pool):
    one = one_process["shard_map", 1, name, pool]
    for combination in COMBINATIONS:
        assert one_process[*combination, name, pool] == one, combination


def test_two_processes_choose_the_same(one_process):
    for found in together_do(choices, 2, 2, [("shard_map", 4)]):
        assert len(found) == len(BATCH) * len([*SMALL, *FORMS])
        for key, chosen in found.items():
            assert chosen == one_process[key], key


@pytest.mark.parametrize("form", FORMS)
def test_no_step_of_bait_is_a_tie(form):
    """Effects differ by more than ten times what they round to, 1e-6."""
    query = large(form, BUDGETS["bait"], choose_devices(1))
    assert definition(query, form)[1] > 1e-5
