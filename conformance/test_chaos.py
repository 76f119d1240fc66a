"""A few rounds of chaos: nothing that was said is lost and nothing is done twice, whatever dies. `make chaos` runs more."""

import chaos
import pytest
from centaur_server import StandInModel
from chaos_plan import FAULTS, Plan

ROUNDS = {
    "server at a point": 1, "server": 2, "term": 3, "gateway at a point": 4, "shim at a point": 5, "paused": 8, "power": 11,
    "failing store": 15}


@pytest.mark.parametrize("fault, seed", ROUNDS.items(), ids=list(ROUNDS))
def test_nothing_is_lost(model: StandInModel, fault: str, seed: int):
    """Clients that come back by themselves find their turns; a session whose turn was killed takes the next one."""
    chaos.run(Plan.of(seed, fault), model)


def test_a_seed_is_a_round():
    """A round that failed can be run again by its seed."""
    assert [str(Plan.of(seed)) for seed in range(50)] == [str(Plan.of(seed)) for seed in range(50)]
    faults = {Plan.of(seed).fault for seed in range(1000)}
    assert faults == set(FAULTS)
