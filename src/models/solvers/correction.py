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
    interaction, it is exact; half-filled by symmetry, it is half-filled.
Cost
    With `ipt`, a fifth of a millisecond more than it where nothing is searched, half-filled: 1.91
    times its cost in a loop of its own; 1.13 times doped. With three levels embedded in `ipt`, the
    default, 1.05 to 1.43 times `ed` with three levels (`benchmarks/correction_cost.py`,
    `docs/benchmarks.md`).
Otherwise
    ``guarded_correction``, which hands over to ``ed``; ``ed`` with six fitted levels; ``ctseg``.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dmftnet import checks
from dmftnet.data.keys import ThermalBatch as Batch
from dmftnet.errors import DmftnetError, DmftnetWarning, StoreError
from dmftnet.models.correction.answers import answers
from dmftnet.models.correction.checkpoint import load_correction
from dmftnet.models.correction.compiled import CompiledCorrection, compiled_correction
from dmftnet.models.correction.ensemble import CorrectionEnsemble
from dmftnet.models.correction.model import CorrectionModel
from dmftnet.models.correction.outputs import Outputs
from dmftnet.models.correction.thermal import Answer, Problems, second_order
from dmftnet.models.correction.trust import ThermalTrust, load_trust
from dmftnet.models.solvers.correction_inputs import (
    AxisMaps,
    ScaledProblems,
    inputs_of,
    unit_of,
)
from dmftnet.physics.analysis.self_energy_measure import dressed_by
from dmftnet.physics.grids.matsubara import ImaginaryAxis
from dmftnet.physics.impurity.matsubara_hybridization import MatsubaraHybridization
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


class Found(NamedTuple):
    """Answers of a batch in units of D, on the model's axis; measures of a projected model."""

    measures: np.ndarray | None  # (B, J)
    density: np.ndarray  # (B,)
    greens: np.ndarray  # (B, n_iw) complex128
    strengths: np.ndarray  # (B,)
    doubles: np.ndarray  # (B,)
    spread: list[float | None]
    distance: list[float | None]


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
        units = [unit_of(problem.hybridization, self.model.measure) for problem in problems]
        pairs = zip(units, problems, strict=True)
        bare = [unit**2 <= 4 * NO_BATH * max(p.U, 1e-3) ** 2 for unit, p in pairs]
        with_bath = [i for i, empty in enumerate(bare) if not empty]
        atoms = [i for i, empty in enumerate(bare) if empty]
        found: dict[int, ImpuritySolution] = {}
        if atoms:
            found |= zip(atoms, self._isolated([problems[i] for i in atoms]), strict=True)
        for i in atoms:
            found[i].diagnostics.update(self._nothing_to_say())
        if with_bath:
            chosen = [problems[i] for i in with_bath], [units[i] for i in with_bath]
            found |= dict(zip(with_bath, self._corrected(*chosen), strict=True))
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
        self, problems: Sequence[ImpurityProblem], units: Sequence[float]
    ) -> list[MatsubaraSolution]:
        scaled = ScaledProblems.of(problems, units, self.model.measure)
        found = self._found(inputs_of(scaled, self.approximations))
        solutions = []
        for i, (problem, unit) in enumerate(zip(problems, units, strict=True)):
            axis, beta = problem.axis, float(scaled.beta[i])
            known = problem.hybridization
            is_known = isinstance(known, MatsubaraHybridization)
            delta = (known.values if is_known else known.at(1j * axis.omega_n))[0]
            level = float(problem.eps_d[0])
            if found.measures is None:
                greens = self._interpolated(found.greens[i], beta, axis) / unit
                sigma = 1j * axis.omega_n - level - delta - 1 / greens
            else:
                n, kernel = float(found.density[i]), AxisMaps.of(axis, self.model.measure).kernel
                static = unit * float(scaled.mean_field[i]) * n
                weight = unit * beta * float(found.strengths[i]) * n * (1 - n)
                sigma, greens = dressed_by(
                    found.measures[i], kernel, axis.omega_n, delta, level, static, weight
                )
            values, sigmas = (
                curve[None] if problem.n_orb == 1 else np.tile(curve, (problem.n_orb, 1))
                for curve in (greens, sigma)
            )
            solutions.append(
                MatsubaraSolution(
                    problem, axis, values, float(found.doubles[i]), sigmas,
                    diagnostics=self._said(scaled, i, found.spread[i], found.distance[i]),
                )
            )  # fmt: skip
        return solutions

    def _said(
        self, scaled: ScaledProblems, i: int, spread: float | None, distance: float | None
    ) -> dict[str, Any]:
        """Diagnostics of an answer."""
        scores = {"spread": spread, "distance": distance}
        values = scaled.U, scaled.eps_d[:, 0], scaled.beta, scaled.J, scaled.mean_field
        U, level, beta, J, mean_field = (float(known[i]) for known in values)
        outside, objection = self.trust.verdict(U, level, beta, scores, J, -0.5 * mean_field)
        if objection:
            objection = f"correction '{self.label}' beyond its limits at {objection}"
        return {
            "checkpoint": self.label,
            "extrapolating": outside,
            **scores,
            "warning": objection,
        }

    def _found(self, arrays: dict[str, np.ndarray]) -> Found:
        """Answers in units of D: compiled, or of other models by torch."""
        if self._compiled is not None:
            got = self._compiled(arrays)
            n = len(got.density)
            spread = [None] * n if got.spread is None else got.spread.tolist()
            distance: list[float | None] = [None] * n
            if self._distance is not None:
                distance = self._distance(got.features).tolist()
            strengths = arrays[Batch.U] ** 2
            return Found(
                got.measures, got.density, got.greens, strengths, got.doubles, spread, distance
            )
        batch = {name: torch.as_tensor(np.ascontiguousarray(a)) for name, a in arrays.items()}
        with torch.no_grad():
            features = self.model.features(batch)
            prediction = self.model.predict(batch, features) if self.model.is_projected else None
            measures, answer = answers(self.model, batch, prediction)
            distance = self.trust.distances(self.model, batch, features)
        spreads = None if prediction is None else prediction.spread
        outputs = None if prediction is None else prediction.outputs
        strengths = second_order(batch)
        if outputs is not None and outputs.strength is not None:
            strengths = outputs.strength
        return Found(
            measures,
            answer.density.numpy(),
            answer.greens.numpy(),
            strengths.numpy(),
            self._double_occupancies(batch, answer, outputs),
            [None] * len(strengths) if spreads is None else spreads.tolist(),
            distance,
        )

    @cached_property
    def _compiled(self) -> CompiledCorrection | None:
        return compiled_correction(self.model)

    @cached_property
    def _distance(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """From features of the compiled model, where there are training points."""
        known, compiled = self.trust.distance, self._compiled
        return None if known is None or compiled is None else known.of(*compiled.scaling)

    def _interpolated(self, greens: np.ndarray, beta: float, axis: ImaginaryAxis) -> np.ndarray:
        """(n_iw,) of another axis at the same temperature."""
        own = ImaginaryAxis.universal(beta, self.model.measure.size, self.model.measure.accuracy)
        return own.at_frequencies(own.to_coefficients(greens), axis.indices)

    def _double_occupancies(
        self, batch: Problems, answer: Answer, outputs: Outputs | None
    ) -> np.ndarray:
        """Galitskii and Migdal's sum: ``n n_G - (D G)(beta) / U``, D the dynamic part of Sigma.

        Of several orbitals that is an energy of all pairs; theirs is predicted, between 0 and n.
        """
        n, U = answer.density, batch[Batch.U]
        if outputs is not None and outputs.correlation is not None:
            found = n**2 + outputs.correlation
            return torch.minimum(found.clamp_min(0.0), n).numpy()
        dynamic = (answer.sigma - (U * n)[:, None]) / U.clamp_min(1e-12)[:, None]
        product = self.model.dyson.greens_tau(dynamic * answer.greens, batch[Batch.BETA])
        return (n * n - product[:, -1]).numpy()


def shipped_names() -> list[str]:
    """Folders of corrections that ship."""
    return sorted(path.name for path in WEIGHTS.glob("correction*") if path.is_dir())


def capabilities_of(n_orb: int) -> Capabilities:
    """What a correction of so many degenerate orbitals takes: as many, and no others."""
    return (
        THERMAL if n_orb == 1 else replace(THERMAL, orbitals=n_orb, fewest=n_orb, degenerate=True)
    )


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
