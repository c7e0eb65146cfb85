"""The natural gradient with momentum against NetKet, which has an environment of its own.

`make netket` sets it up and runs this.
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_nqs import ANSATZE, all_states, chains

from dmftnet.models.nqs.energy import local_energies
from dmftnet.models.nqs.natural_gradient import Derivatives, no_direction, spring
from dmftnet.models.nqs.state import NeuralState
from dmftnet.physics.impurity.interaction import Interaction

TESTS = Path(__file__).resolve().parents[1]
NETKET = TESTS.parent / ".venv-netket" / "bin" / "python"
MOMENTUM, REGULARISATION, N_SAMPLES = 0.9, 1e-3, 24

pytestmark = pytest.mark.skipif(not NETKET.exists(), reason="NetKet is missing: make netket")


class Case:
    """A neural state in the basis of its canonical determinants."""

    def __init__(self, ansatz):
        found = chains(3, Interaction(2.0), level=-0.3, onsite=0.2)
        self.state = state = NeuralState.of(found, (2, 2), ANSATZE[ansatz], seed=3)
        every, symmetry = all_states(4, (2, 2)), state.law.symmetry
        self.states = np.unique(symmetry.canonical(every), axis=0)
        up, down = state.cluster.strings(state.sector)
        codes = (up.codes[:, None] | down.codes[None, :] << 4).ravel()
        every = state.line.states(codes)
        images = state.line.codes(symmetry.canonical(every))
        member = images[:, None] == state.line.codes(self.states)
        self.basis = member * state.line.signs(every)[:, None] / np.sqrt(member.sum(axis=0))

    @property
    def H(self):
        return self.basis.T @ self.state.cluster.hamiltonian(self.state.sector) @ self.basis

    @property
    def log_psi(self):
        orbit = self.state.law.symmetry.orbit(self.states)
        return self.state.log_amplitudes(self.states) + 0.5 * np.log(orbit)

    @property
    def jacobian(self):
        """(n, n_parameters) of log psi, each row a gradient of torch."""
        law, rows = self.state.law, []
        for row in self.states:
            law.zero_grad()
            law.log_prob(torch.from_numpy(row[None])).sum().backward()
            gradients = [p.grad for p in law.parameters()]
            rows.append(np.concatenate([g.flatten().numpy() for g in gradients]))
        return 0.5 * np.stack(rows)

    def directions(self, samples):
        """Two directions, flat, the second with the momentum of the first.

        Parameters
        ----------
        samples : pair of (places, weights)
            Determinants of either step, and weights that add up to one.
        """
        law, last, found = self.state.law, no_direction(self.state.law), []
        for places, weights in samples:
            states = self.states[places]
            local = local_energies(self.state, states)
            derivatives = Derivatives.of(law, states, weights)
            last = spring(derivatives, local - weights @ local, last, MOMENTUM, REGULARISATION)
            found.append(torch.cat([part.flatten() for part in last]).numpy())
        return np.stack(found)


@pytest.mark.parametrize("ansatz", ["position nets", "rwkv"])
def test_directions_are_those_of_netket(ansatz, tmp_path):
    """NetKet's gradient has the factor 2 that ours has not. Of all determinants with their weights,
    where it solves in the space of parameters, and of draws of its own, where minSR is its way.

    Rounding is enlarged by the metric's largest eigenvalue over the regularisation, below 1e3.
    """
    case = Case(ansatz)
    given, found = tmp_path / "given.npz", tmp_path / "found.npz"
    np.savez(
        given, H=case.H, log_psi=case.log_psi, jacobian=case.jacobian, momentum=MOMENTUM,
        regularisation=REGULARISATION, n_samples=N_SAMPLES,
    )  # fmt: skip
    command = [NETKET, TESTS / "netket_oracle.py", given, found]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    with np.load(found) as theirs:
        whole, sampled, drawn = (theirs[name] for name in ("whole", "sampled", "drawn"))
    everything = (np.arange(len(case.states)), np.exp(2 * case.log_psi))
    uniform = np.full(N_SAMPLES, 1 / N_SAMPLES)
    for name, expected, samples in (
        ("whole", whole, [everything] * 2),
        ("sampled", sampled, [(places, uniform) for places in drawn]),
    ):
        ours = case.directions(samples)
        difference = np.abs(2 * ours - expected).max() / np.abs(expected).max()
        assert difference < 1e-11, name
        assert np.abs(ours[1] - ours[0]).max() > 1e-2 * np.abs(ours[0]).max()
