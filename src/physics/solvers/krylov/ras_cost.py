"""What a restricted active space costs, before anything of it is listed.

The restriction ``depths = (d_1, d_2, ...)`` counts the excitations of both spins that lie deeper
than each ``d_j``: at most j - 1. The sites of the two chains between two neighbouring ``d_j`` are
therefore alike, and the determinants are counted from binomials, from the deepest sites upwards,
keeping the number of excitations so far and the electrons that each spin has gained. Exact, in less
than a millisecond, whatever the size of the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb

from dmftnet import checks
from dmftnet.errors import SpaceTooLargeError

BYTES_EACH = 14 * 12 + 66 * 8
"""Of a determinant: about 14 hops (index, amplitude) a row, 60 Lanczos vectors and some copies."""

SECONDS_EACH = 4e-8
"""Of a determinant, a Lanczos step and a side, on one core of a laptop."""

MEAN_FIELD_SECONDS = 2e-8
"""Of the cubed number of sites: some 60 diagonalisations of the one-body matrix."""

NOTICE_SECONDS = 30.0
"""A solve that takes longer is worth a word before it starts."""

ACTIVE_STATES = {1: 1, 0: 2, -1: 1}
"""Electrons that a spin's chains have gained, and the states of (d, b) that make up for them."""


@lru_cache(maxsize=64)
def count_determinants(depths: tuple[int, ...], n_valence: int, n_conduction: int) -> int:
    """Determinants of the restricted space with one electron more than valence sites, each spin.

    Parameters
    ----------
    depths : tuple of int
        Without "all".
    n_valence, n_conduction : int
        Sites of the two chains.
    """
    n_max = len(depths)
    allowed = {0: n_max}  # deeper than the depth: at most so many
    for j, depth in reversed(tuple(enumerate(depths))):
        allowed[depth] = j
    ends = sorted(allowed, reverse=True)
    ways = {(0, 0, 0): 1}  # (excitations, electrons gained up, down) to their number
    for j, end in enumerate(ends[1:], start=1):
        valence, conduction = (max(0, min(ends[j - 1], n) - end) for n in (n_valence, n_conduction))
        choices = [
            (
                holes + particles,
                particles - holes,
                comb(valence, holes) * comb(conduction, particles),
            )
            for holes in range(min(n_max, valence) + 1)
            for particles in range(min(n_max - holes, conduction) + 1)
        ]
        for spin in (0, 1):
            more: dict[tuple[int, int, int], int] = {}
            for (n, up, down), number in ways.items():
                for extra, gained, choice in choices:
                    if n + extra <= allowed[end]:
                        to = (n + extra, up + gained * (spin == 0), down + gained * (spin == 1))
                        more[to] = more.get(to, 0) + number * choice
            ways = more
    return sum(
        number * ACTIVE_STATES.get(up, 0) * ACTIVE_STATES.get(down, 0)
        for (_, up, down), number in ways.items()
    )


@dataclass(frozen=True)
class Cost:
    """What one solve takes.

    Parameters
    ----------
    determinants : int
    seconds : float
        Roughly, of one core.
    """

    determinants: int
    seconds: float

    @classmethod
    def of(
        cls, depths: Sequence[int | str], n_bath: int, n_lanczos: int, n_shifts: int = 1
    ) -> Cost:
        """Of a bath with as many sites below zero as above, none empty: the most expensive."""
        sites = max(n_bath - 1, 1)
        chains = sites // 2, sites - sites // 2
        reach = tuple(max(chains) if d == "all" else min(int(d), max(chains)) for d in depths)
        number = count_determinants(reach, *chains)
        seconds = 2 * n_lanczos * SECONDS_EACH * number + MEAN_FIELD_SECONDS * n_bath**3
        return cls(number, n_shifts * seconds)

    @property
    def n_bytes(self) -> int:
        """Memory at its peak."""
        return self.determinants * BYTES_EACH

    @property
    def notice(self) -> str:
        """One line, to be shown before the first solve, if it is long; else empty."""
        return f"cost: {self}" if self.seconds >= NOTICE_SECONDS else ""

    def __str__(self) -> str:
        return (
            f"{self.determinants:,} determinants, about {checks.gibibytes(self.n_bytes)} and "
            f"roughly {duration(self.seconds)} a solve on one core"
        )


def check_memory(
    count: int, max_memory: float, what: str = "determinants", bytes_each: int = BYTES_EACH
) -> None:
    """Raise if a space would not fit into `max_memory` GiB."""
    estimate = count * bytes_each / 2**30
    if estimate > max_memory:
        raise SpaceTooLargeError(
            f"the restricted space has {count:,} {what} and needs about {estimate:.2g} GiB, more "
            f"than max_memory = {max_memory:g} GiB; use smaller depths, fewer bath sites, or raise "
            "solver.max_memory"
        )


def duration(seconds: float) -> str:
    """Rough time in words."""
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * unit:
            return f"{float(f'{seconds / unit:.2g}'):,.10g} {name}"
    return f"{seconds:.2g} seconds"
