"""`correction`: cheap solvers at finite temperature, and a learned correction of the best of them.

Method
    1. The problem in units of its own ``D = 2 sqrt(m0)``, m0 the weight of the hybridization, on
       the universal axis.
    2. Every approximation that the model reads, by the solver that made the training data.
    3. The model's correction of Sigma, projected onto positive measures
       (`dmftnet.models.correction.model`), and G by Dyson's equation with its own density.
Range
    As many degenerate orbitals as the training data have, one or several with a Kanamori
    interaction, at finite temperature, near those data: every solution says how near
    (``extrapolating``, ``spread``, ``distance``, ``warning``). Whatever the model puts out, the
    answer is causal, with exact norm, boundary condition and tails. Without a bath, or without
    interaction, it is exact.
Cost
    That of the approximations, and about a millisecond.
Otherwise
    ``guarded_correction``, which hands over to ``ed``; ``ed`` with six fitted levels; ``ctseg``.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmftnet import checks
from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import DmftnetError, DmftnetWarning, StoreError
from dmftnet.models.correction.answers import answers
from dmftnet.models.correction.checkpoint import load_correction
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.model import CorrectionModel
from dmftnet.models.correction.outputs import Outputs
from dmftnet.models.correction.thermal import Answer, Problems
from dmftnet.models.correction.trust import ThermalTrust, load_trust
from dmftnet.physics.analysis.self_energy import bath_misfit, dynamic_strength
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.hybridization import Hybridization
from dmftnet.physics.impurity.interaction import Interaction
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
from dmftnet.physics.impurity.pole_hybridization import PoleHybridization
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Capabilities, ImpuritySolution, ImpuritySolver, Solver
from dmftnet.physics.impurity.solutions import MatsubaraSolution
from dmftnet.physics.solvers.perturbative.hubbard1 import Hubbard1Solver
from dmftnet.physics.solvers.perturbative.thermal import THERMAL
from dmftnet.places import WEIGHTS

NO_BATH = 1e-10
"""Weight of a hybridization over U^2 below which the impurity is an atom."""

SOLVERS = "dmftnet.physics."

SHIPPED = "correction"
"""Folder of `dmftnet.places.WEIGHTS` that is the default."""


class CorrectionSolver(Solver):
    """Impurity solver driven by a learned correction.

    Parameters
    ----------
    checkpoint : path, optional
        A run folder of ``train.py +experiment=correction``, or one that ``ship.py`` wrote (an
        ensemble with limits), or the name of one that ships. By default `SHIPPED`.
    limits : mapping, optional
        ``spread`` and ``distance``, in place of those in the folder.

    Attributes
    ----------
    identity : str
        Hash of everything that its answers depend on.
    """

    name = "correction"
    capabilities: Capabilities = THERMAL

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        limits: Mapping[str, float] | None = None,
    ):
        folder = SHIPPED if checkpoint is None else checkpoint
        if isinstance(folder, str) and folder in shipped_names() and not Path(folder).exists():
            folder = WEIGHTS / folder
        folder = checks.path("solver.checkpoint", folder, "a folder of train.py or ship.py")
        self._setup(load_correction(folder), load_trust(folder, limits), Path(folder).name)

    @classmethod
    def from_model(
        cls,
        model: CorrectionModel | CorrectionEnsemble,
        solvers: Mapping[str, ImpuritySolver],
        label: str = "model in training",
    ) -> CorrectionSolver:
        """A solver around a model in memory; nothing is checked."""
        solver = cls.__new__(cls)
        solver.model, solver.trust, solver.label = model, ThermalTrust(), label
        solver.capabilities = capabilities_of(model.n_orb)
        solver.approximations = dict(solvers)
        return solver

    def _setup(
        self, model: CorrectionModel | CorrectionEnsemble, trust: ThermalTrust, label: str
    ) -> None:
        if "spread" in trust.limits and not isinstance(model, CorrectionEnsemble):
            raise DmftnetError(
                f"limits.spread is given, but '{label}' is a single model, which has no spread; "
                "give an ensemble, or limits.distance"
            )
        points = trust.distance
        first = model.members[0] if isinstance(model, CorrectionEnsemble) else model
        if points is not None and points.mean.size != first.n_features:
            raise StoreError(
                f"'{label}': its training points are of another model, with {points.mean.size} "
                f"features in place of {first.n_features}; copy them anew, or run ship.py"
            )
        self.model, self.trust, self.label = model, trust, label
        self.capabilities = capabilities_of(model.n_orb)
        configs = model.record["solvers"]
        self.approximations = {name: built_solver(configs[name]) for name in model.inputs}

    @cached_property
    def identity(self) -> str:
        content = hashlib.sha256(json.dumps(self.model.record["solvers"], sort_keys=True).encode())
        for name, values in sorted(self.model.state_dict().items()):
            content.update(name.encode() + values.cpu().numpy().tobytes())
        return content.hexdigest()

    @property
    def limits(self) -> Mapping[str, float]:
        """Of spread and distance, beyond which answers carry a warning."""
        return self.trust.limits

    def solve(self, problem: ImpurityProblem) -> ImpuritySolution:
        """Solve one problem; warns where the answer is beyond the limits."""
        solution = self.solve_batch([problem])[0]
        if solution.diagnostics["warning"]:
            warnings.warn(solution.diagnostics["warning"], DmftnetWarning, stacklevel=2)
        return solution

    def solve_batch(self, problems: Sequence[ImpurityProblem]) -> list[ImpuritySolution]:
        """Solve all problems, the model in one pass; warnings in the diagnostics alone."""
        for problem in problems:
            self.require(problem)
        units = [unit_of(problem.hybridization) for problem in problems]
        pairs = zip(units, problems, strict=True)
        bare = [unit**2 <= 4 * NO_BATH * max(p.U, 1e-3) ** 2 for unit, p in pairs]
        with_bath = [i for i, empty in enumerate(bare) if not empty]
        atoms = [i for i, empty in enumerate(bare) if empty]
        isolated = self._isolated([problems[i] for i in atoms])
        found: dict[int, ImpuritySolution] = dict(zip(atoms, isolated, strict=True))
        for i in atoms:
            found[i].diagnostics.update(self._nothing_to_say())
        if with_bath:
            chosen = [(problems[i], units[i]) for i in with_bath]
            found |= dict(zip(with_bath, self._corrected(chosen), strict=True))
        return [found[i] for i in range(len(problems))]

    def _isolated(self, atoms: Sequence[ImpurityProblem]) -> Sequence[ImpuritySolution]:
        """Exact: without a bath Hubbard-I is, and so are the levels of any diagonalisation."""
        if self.model.n_orb == 1:
            return Hubbard1Solver().solve_batch(atoms)
        return self.approximations[self.model.inputs[-1]].solve_batch(atoms)

    def _nothing_to_say(self) -> dict[str, Any]:
        return {
            "checkpoint": self.label,
            "extrapolating": False,
            "spread": None,
            "distance": None,
            "warning": "",
        }

    def _corrected(
        self, chosen: Sequence[tuple[ImpurityProblem, float]]
    ) -> list[MatsubaraSolution]:
        scaled = [self._scaled(problem, unit) for problem, unit in chosen]
        batch = self._batch(scaled)
        with torch.no_grad():
            features = self.model.features(batch)
            prediction = self.model.predict(batch, features) if self.model.is_projected else None
            measures, answer = answers(self.model, batch, prediction)
            distance = self.trust.distances(self.model, batch, features)
        if prediction is None or prediction.spread is None:
            spread = [None] * len(scaled)
        else:
            spread = prediction.spread.tolist()
        outputs = None if prediction is None else prediction.outputs
        if outputs is None or outputs.strength is None:
            strengths = [p.U**2 for p in scaled]
        else:
            strengths = outputs.strength.tolist()
        doubles = self._double_occupancies(batch, answer, outputs)
        solutions = []
        for i, (problem, unit) in enumerate(chosen):
            axis, own = problem.axis, scaled[i]
            z = 1j * axis.omega_n
            known = problem.hybridization
            delta = known.values if isinstance(known, MatsubaraHybridization) else known.at(z)
            free = z - problem.eps_d[0] - delta[0]
            if measures is None:
                greens = self._interpolated(answer.greens[i], own.beta, axis) / unit
                sigma = free - 1 / greens
            else:
                n = float(answer.density[i])
                t = self.model.measure.at(measures[i], z / unit, own.beta)
                h = own.interaction.mean_field(own.n_orb)
                sigma = unit * (h * n + strengths[i] * n * (1 - n) * t)
                greens = 1 / (free - sigma)
            scores = {"spread": spread[i], "distance": distance[i]}
            outside, objection = self.trust.verdict(
                own.U, float(own.eps_d[0]), own.beta, scores,
                own.J, own.interaction.half_filling(own.n_orb),
            )  # fmt: skip
            if objection:
                objection = f"correction '{self.label}' beyond its limits at {objection}"
            diagnostics = {
                "checkpoint": self.label,
                "extrapolating": outside,
                **scores,
                "warning": objection,
            }
            values, sigmas = (np.tile(curve, (problem.n_orb, 1)) for curve in (greens, sigma))
            solutions.append(
                MatsubaraSolution(
                    problem, axis, values, doubles[i], sigmas, diagnostics=diagnostics
                )
            )
        return solutions

    def _scaled(self, problem: ImpurityProblem, unit: float) -> ImpurityProblem:
        """In units of its D, on the universal axis, as in the training data: levels too."""
        beta = problem.beta * unit
        axis = ImaginaryAxis.universal(beta, self.model.measure.size, self.model.measure.accuracy)
        values = problem.hybridization.at(1j * axis.omega_n * unit) / unit
        bath = MatsubaraHybridization(axis, values)
        return ImpurityProblem(
            problem.eps_d / unit,
            Interaction(problem.U / unit, problem.J / unit),
            bath,
            float(beta),
        )

    def _batch(self, scaled: Sequence[ImpurityProblem]) -> Problems:
        """The inputs of the model."""
        axes = [p.axis for p in scaled]
        delta = [p.hybridization.values[0] for p in scaled]
        sigmas, densities = [], []
        strengths, doubles, misfits = [], [], []
        n_orb = self.model.n_orb
        for name in self.model.inputs:
            found = self.approximations[name].solve_batch(scaled)
            sigmas.append(
                [s.matsubara_self_energy(a).mean(axis=0) for s, a in zip(found, axes, strict=True)]
            )
            densities.append([s.filling / (2 * n_orb) for s in found])
            if n_orb > 1:
                strengths.append([dynamic_strength(s) for s in found])
                doubles.append([s.double_occupancy for s in found])
                misfits.append([bath_misfit(s, a) for s, a in zip(found, axes, strict=True)])
        n, n_iw = len(scaled), axes[0].omega_n.size
        arrays = {
            Batch.U: np.array([p.U for p in scaled]),
            Batch.EPS_D: np.array([p.eps_d[0] for p in scaled]),
            Batch.BETA: np.array([p.beta for p in scaled]),
            Batch.HYBRIDIZATION: np.array(delta),
            Batch.SELF_ENERGIES: np.array(sigmas, dtype=complex)
            .reshape(-1, n, n_iw)
            .swapaxes(0, 1),
            Batch.DENSITIES: np.array(densities, dtype=float).reshape(-1, n).T,
        }
        if n_orb > 1:
            own = [p.interaction for p in scaled]
            arrays |= {
                Batch.J: np.array([p.J for p in scaled]),
                Batch.MEAN_FIELD: np.array([i.mean_field(n_orb) for i in own]),
                Batch.SECOND_ORDER: np.array([i.second_order(n_orb) for i in own]),
                Batch.STRENGTHS: np.array(strengths, dtype=float).reshape(-1, n).T,
                Batch.MISFITS: np.array(misfits, dtype=complex).reshape(-1, n, n_iw).swapaxes(0, 1),
                Batch.DOUBLES: np.array(doubles, dtype=float).reshape(-1, n).T,
            }
        return {name: torch.as_tensor(np.ascontiguousarray(a)) for name, a in arrays.items()}

    def _interpolated(self, greens: torch.Tensor, beta: float, axis: ImaginaryAxis) -> np.ndarray:
        """(n_iw,) of another axis at the same temperature."""
        own = ImaginaryAxis.universal(beta, self.model.measure.size, self.model.measure.accuracy)
        return own.at_frequencies(own.to_coefficients(greens.numpy()), axis.indices)

    def _double_occupancies(
        self, batch: Problems, answer: Answer, outputs: Outputs | None
    ) -> list[float]:
        """Galitskii and Migdal's sum: ``n n_G - (D G)(beta) / U``, D the dynamic part of Sigma.

        Of several orbitals that is an energy of all pairs; theirs is predicted, between 0 and n.
        """
        n, U = answer.density, batch[Batch.U]
        if outputs is not None and outputs.correlation is not None:
            found = n**2 + outputs.correlation
            return torch.minimum(found.clamp_min(0.0), n).tolist()
        dynamic = (answer.sigma - (U * n)[:, None]) / U.clamp_min(1e-12)[:, None]
        product = self.model.dyson.greens_tau(dynamic * answer.greens, batch[Batch.BETA])
        return (n * n - product[:, -1]).tolist()


def shipped_names() -> list[str]:
    """Folders of corrections that ship."""
    return sorted(path.name for path in WEIGHTS.glob("correction*") if path.is_dir())


def capabilities_of(n_orb: int) -> Capabilities:
    """What a correction of so many degenerate orbitals takes: as many, and no others."""
    return (
        THERMAL if n_orb == 1 else replace(THERMAL, orbitals=n_orb, fewest=n_orb, degenerate=True)
    )


def unit_of(hybridization: Hybridization) -> float:
    """``D = 2 sqrt(m0)``, m0 the weight of the bath of one of equivalent orbitals."""
    if isinstance(hybridization, PoleHybridization):
        weight = float(np.sum(np.abs(hybridization.couplings) ** 2))
    else:
        axis = hybridization.axis
        ends = axis.at_tau(axis.to_coefficients(hybridization.values), np.array([0.0, axis.beta]))
        weight = -float(ends.sum())
    return 2 * float(np.sqrt(max(weight / hybridization.n_orb, 0.0)))


def built_solver(config: Mapping[str, Any]) -> ImpuritySolver:
    """A solver from its plain config; classes of `dmftnet.physics` alone.

    Raises
    ------
    StoreError
        If it names another, or arguments that it does not take.
    """
    made = _built(checks.section("solvers", config))
    if not isinstance(made, ImpuritySolver):
        raise StoreError(f"solvers: {checks.shown(config)} is no impurity solver; train again")
    return made


def _built(value: Any) -> Any:
    if isinstance(value, Mapping):
        inner = {key: _built(part) for key, part in value.items() if key != "_target_"}
        target = value.get("_target_")
        if target is None:
            return inner
        module, _, name = str(target).rpartition(".")
        found = None
        if f"{module}.".startswith(SOLVERS):
            try:
                found = getattr(importlib.import_module(module), name, None)
            except ImportError:
                found = None
        if not inspect.isclass(found):
            raise StoreError(f"solvers: {checks.shown(target)} is no class of {SOLVERS[:-1]}")
        try:
            return found(**inner)
        except TypeError as error:
            raise StoreError(f"solvers: {name}: {checks.reason(error)}; train again") from None
    return value
