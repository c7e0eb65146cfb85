"""Two updates by NetKet, run by its own interpreter: netket_oracle.py GIVEN.npz FOUND.npz.

A basis state is the occupation of one site. The model's log psi is linear in the parameters, with
the Jacobian that it is given: local energies, samples, centring, metric and momentum are NetKet's.
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"  # which jax reads when it is imported

import flax.linen as nn
import jax
import netket as nk
import numpy as np
import optax


class Linear(nn.Module):
    """``log psi(s) = log_psi[s] + jacobian[s] . theta`` at theta = 0."""

    log_psi: object
    jacobian: object

    @nn.compact
    def __call__(self, states):
        theta = self.param("theta", nn.initializers.zeros, self.jacobian.shape[1:], float)
        s = states[..., 0].astype(int)
        return jax.numpy.asarray(self.log_psi)[s] + jax.numpy.asarray(self.jacobian)[s] @ theta


class Table:
    """A constant array that jax may hash: by identity."""

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def __jax_array__(self):
        return jax.numpy.asarray(self.values)


def updates(state, given, **how):
    """Of two steps with momentum, the parameters left where they are; (2, n_parameters)."""
    hamiltonian = nk.operator.LocalOperator(state.hilbert, given["H"], [0], dtype=float)
    driver = nk.driver.VMC_SR(
        hamiltonian,
        optax.sgd(0.0),
        diag_shift=float(given["regularisation"]),
        momentum=float(given["momentum"]),
        variational_state=state,
        mode="real",
        **how,
    )
    found, drawn = [], []
    for _ in range(2):
        state.reset()
        _, update = driver.compute_loss_and_update()
        found.append(np.asarray(update["theta"]))
        if hasattr(state, "samples"):
            drawn.append(np.asarray(state.samples).astype(int).ravel())
    return np.stack(found), np.array(drawn)


def main(source, target):
    given = np.load(source)
    hilbert = nk.hilbert.Fock(n_max=len(given["log_psi"]) - 1, N=1)
    model = Linear(Table(given["log_psi"]), Table(given["jacobian"]))
    whole, _ = updates(nk.vqs.FullSumState(hilbert, model), given, use_ntk=False)
    sampler = nk.sampler.ExactSampler(hilbert)
    sampled = nk.vqs.MCState(
        sampler, model, n_samples=int(given["n_samples"]), seed=0, sampler_seed=1
    )
    found, drawn = updates(sampled, given, use_ntk=True, on_the_fly=False)
    np.savez(target, whole=whole, sampled=found, drawn=drawn)


if __name__ == "__main__":
    main(*sys.argv[1:])
