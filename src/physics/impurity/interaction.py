"""The local interaction of an impurity: Hubbard-Kanamori, one orbital being a case of it.

``H = U sum_a n_a,up n_a,dn + U' sum_(a != b) n_a,up n_b,dn + (U' - J) sum_(a < b, s) n_as n_bs
    - J sum_(a != b) d+_a,up d_a,dn d+_b,dn d_b,up``   (spin flip)
``  + J sum_(a != b) d+_a,up d+_a,dn d_b,dn d_b,up``   (pair hopping)

Reference: A. Georges, L. de' Medici, J. Mravlje, Annu. Rev. Condens. Matter Phys. 4, 137 (2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmftnet import checks
from dmftnet.errors import InvalidProblemError


@dataclass(frozen=True)
class Interaction:
    """Hubbard-Kanamori interaction; all energies in D.

    Parameters
    ----------
    U : float
        Repulsion of two electrons in one orbital, >= 0.
    J : float
        Hund's coupling.
    U_prime : float, optional
        Repulsion of opposite spins in two orbitals; by default ``U - 2J``, which makes the
        interaction invariant under rotations of the orbitals.
    spin_flip, pair_hopping : bool
        Whether these terms are there; without both the interaction is density-density.

    Raises
    ------
    InvalidProblemError
        If a value is not finite, or electrons of parallel spin would attract (``U' < J``).
    """

    U: float
    J: float = 0.0
    U_prime: float | None = None
    spin_flip: bool = True
    pair_hopping: bool = True

    def __post_init__(self):
        U, J = checks.number("U", self.U), checks.number("J", self.J)
        if U < 0:
            raise InvalidProblemError(f"U = {U}: the repulsion must be finite and >= 0 (in D)")
        if self.U_prime is None and not 0 <= J <= U / 3 + 1e-12:
            raise InvalidProblemError(f"J = {J}: Hund's coupling needs 0 <= J <= U/3 = {U / 3:.4g}")
        object.__setattr__(self, "U", U)
        object.__setattr__(self, "J", J)
        if self.U_prime is not None:
            object.__setattr__(self, "U_prime", checks.number("U_prime", self.U_prime))
            if not -1e-12 <= J <= self.U_prime + 1e-12:
                raise InvalidProblemError(
                    f"J = {J}, U_prime = {self.U_prime}: Hund's coupling needs 0 <= J <= U_prime"
                )
        for name in ("spin_flip", "pair_hopping"):
            object.__setattr__(self, name, checks.flag(name, getattr(self, name)))

    @property
    def between_orbitals(self) -> float:
        """U', given or ``U - 2J``, in D."""
        return self.U - 2 * self.J if self.U_prime is None else self.U_prime

    @property
    def is_density_density(self) -> bool:
        """Whether the interaction is a function of the occupations."""
        return self.J == 0 or not (self.spin_flip or self.pair_hopping)

    @property
    def is_rotationally_invariant(self) -> bool:
        """``U' = U - 2J`` with both J terms, or no J at all."""
        complete = self.J == 0 or (self.spin_flip and self.pair_hopping)
        return complete and abs(self.between_orbitals - (self.U - 2 * self.J)) <= 1e-12

    def opposite_spins(self, n_orb: int) -> np.ndarray:
        """(n_orb, n_orb) repulsion of n_a,up and n_b,dn: U on the diagonal, U' beside it."""
        U_prime = self.between_orbitals
        return U_prime + (self.U - U_prime) * np.eye(n_orb)

    def parallel_spins(self, n_orb: int) -> np.ndarray:
        """(n_orb, n_orb) repulsion of n_as and n_bs: U' - J between different orbitals."""
        return (self.between_orbitals - self.J) * (1 - np.eye(n_orb))

    def mean_field(self, n_orb: int) -> float:
        """Hartree-Fock self-energy of degenerate orbitals over the density of one spin, in D."""
        return self.U + (n_orb - 1) * (2 * self.between_orbitals - self.J)

    def second_order(self, n_orb: int) -> float:
        """What Sigma weighs beyond `mean_field` over ``n (1 - n)``, without correlations, in D^2.

        Of degenerate orbitals with density n of one spin each; U^2 for one orbital, exactly.
        """
        exchanged = self.J**2 * (self.spin_flip + self.pair_hopping)
        pairs = self.between_orbitals**2 + (self.between_orbitals - self.J) ** 2 + exchanged
        return self.U**2 + (n_orb - 1) * pairs

    def half_filling(self, n_orb: int) -> float:
        """Level at which degenerate orbitals are particle-hole symmetric, in D."""
        return -0.5 * self.mean_field(n_orb)
