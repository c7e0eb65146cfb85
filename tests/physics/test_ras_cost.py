"""What a restricted space costs, against the spaces themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmftnet.errors import SpaceTooLargeError
from dmftnet.physics.bath.chains import mean_field, natural_orbitals
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.solvers.krylov.ed import EdSolver
from dmftnet.physics.solvers.krylov.ras import RasSolver
from dmftnet.physics.solvers.krylov.ras_cost import Cost, count_determinants, duration
from dmftnet.physics.solvers.krylov.ras_space import determinant_space
from dmftnet.physics.solvers.krylov.ras_strings import resolve_depths, spin_strings


def listed(depths, n_valence, n_conduction):
    """Size of the space as the solver lists it."""
    energies = np.concatenate([-np.arange(1, n_valence + 1.0), np.arange(1, n_conduction + 2.0)])
    bath = StarBath(energies, np.full(energies.size, 0.3))
    orbitals = natural_orbitals(bath, -1.0, 2.0, mean_field(bath, -1.0, 2.0, n_valence + 1))
    assert orbitals.valence.size == n_valence and orbitals.conduction.size == n_conduction
    strings = spin_strings(orbitals, resolve_depths(depths, orbitals), n_valence + 1, 1.0)
    return determinant_space(strings, strings).n_determinants


@settings(max_examples=60)
@given(
    depths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    n_valence=st.integers(0, 5),
    n_conduction=st.integers(0, 5),
)
def test_the_count_is_that_of_the_space(depths, n_valence, n_conduction):
    """Any order of the depths, chains of any length, empty ones too."""
    longest = max(n_valence, n_conduction, 1)
    reach = tuple(min(depth, longest) for depth in depths)
    assert count_determinants(reach, n_valence, n_conduction) == listed(
        depths, n_valence, n_conduction
    )


def test_the_full_space_is_a_product_of_binomials():
    """Six orbitals of either spin with three electrons, all eight excitations: C(6, 3)^2."""
    assert count_determinants((2,) * 8, 2, 2) == 20**2


@pytest.mark.parametrize("n_bath", [11, 15])
def test_a_solver_expects_what_its_spaces_have(n_bath):
    solver = RasSolver(depths=("all", 4, 1), bath=Intervals(n_bath))
    half = n_bath // 2
    assert solver.expected_cost().determinants == listed(("all", 4, 1), half, half)


def test_a_space_beyond_the_limit_is_refused_with_its_cost():
    solver = RasSolver(depths=("all",) * 4)
    with pytest.raises(SpaceTooLargeError) as caught:
        solver.expected_cost()
    text = str(caught.value)
    assert "7,179,012 determinants, about 4.7 GiB and roughly 69 seconds a solve" in text
    assert "more than solver.max_determinants = 5,000,000" in text and "\n" not in text
    allowed = RasSolver(depths=("all",) * 4, max_determinants=8_000_000)
    assert allowed.notice() == f"cost: {allowed.expected_cost()}"
    with pytest.raises(SpaceTooLargeError, match=r"max_memory = 4 GiB"):
        RasSolver(depths=("all",) * 4, max_memory=4.0).expected_cost()


def test_only_what_takes_long_is_told():
    assert RasSolver().notice() == "" and EdSolver().notice() == ""
    assert RasSolver(n_shifts=50).notice().startswith("cost: 198,584 determinants")
    cost, twice = Cost.of(("all", 4), 21, 50), Cost.of(("all", 4), 21, 50, n_shifts=2)
    assert twice.seconds == 2 * cost.seconds and twice.determinants == cost.determinants


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.21, "3.2 seconds"), (119, "2 minutes"), (7000, "1.9 hours"), (3e7, "350 days")],
)
def test_durations_read_well(seconds, words):
    assert duration(seconds) == words


def test_a_thousand_sites_are_counted_at_once():
    """No string is listed: these are 5e19 of one spin."""
    assert count_determinants((999,) * 7, 999, 999) > 1e19
