"""The summary: each line from the numbers it is about, none where there are none."""

import pytest

from dmftnet.evaluation.summary import summary

LOOP = {"U": 2.0, "filling_exact": 1.0, "lattice": "bethe", "converged": True}
LOOP |= {"right_branch": True, "seconds": 0.02, "iterations": 9}


def loop(**changes):
    return {**LOOP, **changes}


def numbers(**changes):
    own = {
        "loops": [loop(), loop(U=4.0, filling_exact=0.8, seconds=0.04, iterations=11)],
        "loops_elsewhere": [loop(lattice="cubic", seconds=0.5), loop(U=9.0, right_branch=False)],
    }
    model = {
        "test": {"kl_median": 1e-4, "kl_90": 2e-3, "kl_worst": 0.3, "kl_input_median": 0.1},
        "loops": {"reference": {"loops": [], "loops_elsewhere": []}, "test": own},
        "hysteresis": {"metal": {"critical_U": 2.925}, "insulator": {"critical_U": None}},
        "applicability": {
            "ranges": {"U": [0.001, 4.5], "shift": [0.5, 2.0]},
            "filling": [0.05, 1.9],
            "limits": {"spread": 1e-3, "distance": 1.07},
            "calibration": {
                "kl": 0.01,
                "test": {"accepted": 0.92, "good": 0.87, "good_accepted": 0.94},
            },
        },
        "cost": {"one_ms": 4.5, "batch_ms": 1.7, "batch": 64},
        "training": {"minutes": 131.2},
        **changes,
    }
    exact = {"metal": {"critical_U": 2.9}, "insulator": {"critical_U": 2.325}}
    targets = [{"met": True}, {"met": False}, {"met": None}]
    return {
        "best": "net",
        "models": {"net": model},
        "exact": exact,
        "samples": {"test": 600},
        "targets": targets,
        "device": "CPU, 1 thread",
    }


def lines(title, **changes):
    return next(part["lines"] for part in summary(numbers(**changes)) if part["title"] == title)


def test_how_good():
    kl, loops, mott, targets = lines("How good")
    for text in ("600 test solves", "median 1.0e-04", "90 % below 2.0e-03", "worst 0.3", "0.1."):
        assert text in kl
    assert "nothing was chosen on these loops" in loops
    assert "2 of 2 on the Bethe lattice, 1 of 2 on lattices absent from the data" in loops
    assert "insulator down to U = no end (exact 2.325)" in mott
    assert "metal up to U = 2.925 (exact 2.900)" in mott
    assert targets == "Targets met: 1 of 2."


def test_loops_on_which_settings_were_chosen_are_called_so():
    own = numbers()["models"]["net"]["loops"]["test"]
    assert "settings were chosen" in lines("How good", loops={"reference": own})[1]


def test_without_a_hysteresis_nothing_is_said_of_the_transition():
    assert not any("Mott" in line for line in lines("How good", hysteresis={}))


def test_where_valid():
    _, trained, checked, limits = lines("Where valid")
    assert "U up to 4.5 D" in trained and "|eps_d + U/2| from 0.5 to 2 D" in trained
    assert "filling 0.05 to 1.95" in trained  # mirror images included
    assert "U = 2 to 4 D" in checked  # not the loop that went wrong, at U = 9
    assert "filling 0.80 to 1.00" in checked and "lattices bethe, cubic" in checked
    assert "spread of its members of 1.0e-03" in limits and "distance of 1.07" in limits
    assert "92% of the test solves" in limits and "94%" in limits and "87%" in limits


@pytest.mark.parametrize("applicability", [{}, {"ranges": {"U": [0.1, 4.0]}}])
def test_a_model_without_limits_says_so(applicability):
    found = lines("Where valid", applicability=applicability)
    assert "ship.py" in found[-1]
    assert any("Trained on" in line for line in found) is bool(applicability)


def test_cost():
    solve, loop, training = lines("What it costs")
    assert "4.5 ms, or 1.7 ms each in a batch of 64" in solve
    assert "30 ms and 10 iterations on the Bethe lattice" in loop and "CPU, 1 thread" in loop
    assert "0.26 s and 9 iterations on other lattices" in loop
    assert training == "Training: 131 minutes in all."
    bare = lines("What it costs", cost={}, training={})
    assert not any("A solve" in line or "Training" in line for line in bare)
