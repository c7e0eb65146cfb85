"""`mps`: complex-time tensor-network solver; Hamiltonians by TeNPy, sweeps by its own.

Method
    1. Discretise the hybridization, bring the bath into natural orbitals (or a star, or a chain),
       write H as an MPO with U(1) x U(1) charges (`model`, TeNPy), ground state by DMRG
       (`state`, `sweeps`) over the neighbouring particle numbers (`impurity`).
    2. Evolve ``d+|gs>, q+|gs>`` (addition) and ``d|gs>, q|gs>`` (removal) by TDVP along a contour
       in the complex time plane (`evolution`, `dmftnet.physics.grids.time_contour`): damping keeps
       the entanglement, and so the cost, small. ``q = [d, H_int]``.
    3. Signals in time to poles (`dmftnet.physics.analysis.spectral_analysis`, `positive_weights`);
       self-energy by the symmetric improved estimator.

    A straight contour needs no derivative: the exponential fit takes its angle out exactly. A
    decreasing contour is led back to real time by H insertions up to order 4.

References
    Cao, Lu, Stoudenmire, Parcollet, arXiv:2311.10909 (complex time); Haegeman et al., PRB 94,
    165116 (2016) (TDVP); Kugler, PRB 105, 245132 (2022) (estimator); Hauschild et al., TeNPy.
Range
    T = 0, spin-symmetric, one or several orbitals (Hubbard-Kanamori, density of states diagonal in
    the orbitals). Energies finer than ``pi/t_max`` are continued, not resolved.
Cost
    Linear in the bath and in ``t_max / dt``, cubic in the bond dimension; dearer than `ras` for one
    orbital (benchmarks/mps.py prints both).
Otherwise
    One orbital: ``ras``, faster and with finer energies. A few bath sites: ``ed``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmftnet import checks
from dmftnet.errors import InvalidProblemError
from dmftnet.physics.analysis.spectral_analysis import SpectralAnalysis
from dmftnet.physics.bath.intervals import Intervals
from dmftnet.physics.bath.star import StarBath
from dmftnet.physics.bath.wilson import Wilson
from dmftnet.physics.grids.time_contour import MAX_ORDER, TimeContour
from dmftnet.physics.impurity.pole_solutions import PoleSolution
from dmftnet.physics.impurity.poles import ResponsePoles
from dmftnet.physics.impurity.problem import ImpurityProblem
from dmftnet.physics.impurity.protocol import Capabilities, Solver
from dmftnet.physics.solvers.arguments import check_bath, settle
from dmftnet.physics.solvers.tensor.impurity import PreparedImpurity
from dmftnet.physics.solvers.tensor.layout import GEOMETRIES

MAX_ORBITALS = 4


@dataclass(frozen=True)
class MpsSolver(Solver):
    """Complex-time tensor-network solver.

    Parameters
    ----------
    bath : Intervals or Wilson
        Bath sites of each orbital.
    geometry : {"natural", "star", "chain"}
    bond_dimension : int
        Largest bond; TDVP goes on with one site where it is reached.
    truncation : float
        Weight that may be dropped at each bond in each step of the evolution.
    ground_truncation : float
        The same in DMRG.
    energy_tolerance : float, in D
        Change of the energy in a DMRG sweep that ends the search.
    max_sweeps : int
    contour : {"constant", "decreasing"}
    angle : float, in radians
        0 is real time.
    t_max, dt : float, in 1/D
    order : int
        H insertions; order of the reconstruction on a decreasing contour, 0 to 4.
    squared : bool
        Overlap of two half-evolved states; straight contours without H insertions.
    krylov_tolerance : float
        Of the local exponentials.
    method : {"esprit", "linear_prediction", "fourier"}
    tolerance : float
        Noise level of the exponential fit.
    broadening, estimator, with_self_energy
        As in `dmftnet.physics.solvers.krylov.ras.RasSolver`.
    sector : {"search", "mean_field"}
        Compare the neighbouring particle numbers, or trust the mean field.
    checkpoint : str, optional
        Folder for states of evolutions on the way; a killed run goes on from there.
    checkpoint_every : float
        Seconds between saves.
    progress : bool
    max_memory : float, in GiB

    Raises
    ------
    SettingError, InvalidProblemError
        If an argument is of the wrong type or out of its limits.
    SpaceTooLargeError
        If the bath or the signals would not fit into `max_memory`.
    """

    bath: Intervals | Wilson = Intervals()
    geometry: str = "natural"
    bond_dimension: int = 150
    truncation: float = 1e-8
    ground_truncation: float = 1e-11
    energy_tolerance: float = 1e-8
    max_sweeps: int = 30
    contour: str = "constant"
    angle: float = 0.1
    t_max: float = 20.0
    dt: float = 0.5
    order: int = 0
    squared: bool = True
    krylov_tolerance: float = 1e-6
    method: str = "esprit"
    tolerance: float = 1e-4
    broadening: tuple = (2e-3, 0.05)
    estimator: str = "improved"
    with_self_energy: bool = True
    sector: str = "search"
    checkpoint: str | None = None
    checkpoint_every: float = 60.0
    progress: bool = False
    max_memory: float = 8.0
    name: ClassVar[str] = "mps"
    capabilities: ClassVar[Capabilities] = Capabilities(orbitals=MAX_ORBITALS)

    def __post_init__(self):
        self._check_types()
        contour = self.time_contour
        if not 0 <= self.order <= MAX_ORDER:
            raise InvalidProblemError(f"solver.order = {self.order}: use 0 to {MAX_ORDER}")
        if self.squared and (self.order or not contour.is_straight):
            raise InvalidProblemError(
                "solver.squared=true needs a straight contour and order 0; set squared=false"
            )
        if not 0 < self.dt <= self.t_max / 4:
            raise InvalidProblemError(f"solver.dt = {self.dt}: use 0 < dt <= t_max/4")
        if self.bond_dimension < 2 or self.truncation < 0 or self.ground_truncation < 0:
            raise InvalidProblemError(
                f"solver.bond_dimension = {self.bond_dimension}, truncation = {self.truncation}, "
                f"ground_truncation = {self.ground_truncation}: use >= 2, >= 0, >= 0"
            )
        if self.sector not in ("search", "mean_field"):
            raise InvalidProblemError(
                f"solver.sector '{self.sector}' is unknown; use search or mean_field"
            )
        SpectralAnalysis(self.method, self.tolerance)
        checks.memory(  # the block Hankel matrix of the exponential fit and its singular vectors
            f"solver.t_max = {self.t_max:g} in steps of dt = {self.dt:g}: the fit of the signals",
            64.0 * (self.t_max / self.dt) * (self.t_max / self.dt),
            self.max_memory,
            "solver.max_memory",
            "end earlier or take longer steps",
        )

    def _check_types(self) -> None:
        """Each argument by itself; limits of several, or with texts of their own, come after."""
        settle(self, max_memory=checks.number("solver.max_memory", self.max_memory, above=0))
        check_bath(self, self.max_memory)
        for name in ("squared", "with_self_energy", "progress"):
            checks.flag(f"solver.{name}", getattr(self, name))
        for name in ("bond_dimension", "order"):
            settle(self, **{name: checks.integer(f"solver.{name}", getattr(self, name))})
        settle(self, max_sweeps=checks.integer("solver.max_sweeps", self.max_sweeps, at_least=1))
        for name in ("t_max", "dt", "angle", "truncation", "ground_truncation"):
            settle(self, **{name: checks.number(f"solver.{name}", getattr(self, name))})
        for name in ("energy_tolerance", "krylov_tolerance", "tolerance"):
            value = checks.number(f"solver.{name}", getattr(self, name), above=0, below=1)
            settle(self, **{name: value})
        settle(
            self,
            checkpoint_every=checks.number(
                "solver.checkpoint_every", self.checkpoint_every, at_least=0
            ),
        )
        checks.choice("solver.geometry", self.geometry, GEOMETRIES)
        if self.checkpoint is not None:
            checks.path("solver.checkpoint", self.checkpoint, "a folder, or null")

    @property
    def time_contour(self) -> TimeContour:
        """Where states are evolved."""
        return TimeContour(self.t_max, self.angle, self.contour)

    def solve(self, problem: ImpurityProblem) -> PoleSolution:
        """Solve one problem; see `ImpuritySolver`."""
        self.require(problem)
        bath = self.bath.discretise(problem.hybridization)
        baths = [bath.star(orbital) for orbital in range(problem.n_orb)]
        state = self.solve_star(
            baths, problem.eps_d, problem.U, problem.J, problem.is_particle_hole_symmetric()
        )
        return PoleSolution(
            problem=problem,
            greens=state.greens,
            filling=state.filling,
            double_occupancy=state.double_occupancy,
            broadening=self.broadening,
            estimator=self.estimator if self.with_self_energy else "dyson",
            baths=tuple((bath,) for bath in baths),
            diagnostics=state.diagnostics,
        )

    def solve_star(
        self, baths: list[StarBath], eps_d, U: float, J: float = 0.0, symmetric: bool = False
    ) -> ImpurityState:
        """Ground state, signals and poles of discrete baths, one an orbital.

        Parameters
        ----------
        baths : sequence of StarBath
        eps_d : (n_orb,) float64, in D
        symmetric : bool
            One particle-hole symmetric orbital: evolve the addition side, mirror the other.
        """
        # mypy wants what a protocol names to be settable, which nothing frozen is
        impurity = PreparedImpurity.of(self, baths, eps_d, U, J, symmetric)  # type: ignore[arg-type]
        analysis = SpectralAnalysis(self.method, self.tolerance)
        greens: list[ResponsePoles] = []
        diagnostics = impurity.diagnostics()
        for orbital in range(len(impurity.orbitals)):
            twin = impurity.equal_orbital(orbital)
            if twin is not None:
                greens.append(greens[twin])
                continue
            signals = impurity.signals(orbital)
            if self.time_contour.is_straight and self.method == "esprit":
                parts, angle = (signals.addition[0], signals.removal[0]), self.angle
            else:
                parts, angle = signals.real_time(self.order), 0.0
            sum_rule = (signals.addition[0, 0] + signals.removal[0, 0]).real
            sum_rule /= sum_rule[0, 0]  # {d, d+} = 1, which a mirrored side knows to its residual
            poles, info = analysis.poles(*parts, self.dt, angle, sum_rule)
            greens.append(poles)
            info["bond_dimension"] = signals.bond_dimension
            for key, value in info.items():
                diagnostics[key] = max(value, diagnostics.get(key, value))
        diagnostics["norm"] = float(greens[0].G.weights.sum())
        filling, double_occupancy = impurity.occupations()
        return ImpurityState(tuple(greens), filling, double_occupancy, diagnostics)


@dataclass(frozen=True)
class ImpurityState:
    """Poles and occupations of a discrete impurity; see `PoleSolution`."""

    greens: tuple[ResponsePoles, ...]
    filling: float
    double_occupancy: float
    diagnostics: dict
