"""Statistical tests of answers with error bars."""

import numpy as np
from scipy.stats import f

from dmftnet.physics.solvers.ctseg.estimates import covariance


def hotelling(replicas, exact, rank):
    """Probability of a chi-squared as large, over the leading directions of the covariance.

    Parameters
    ----------
    replicas : (1 + n_blocks, n) float64
        All samples, then the jackknife's.
    exact : (n,) float64
    rank : int
        Directions.
    """
    C, blocks = covariance(replicas), len(replicas) - 1
    values, vectors = np.linalg.eigh(C)
    along = (replicas[0] - exact) @ vectors[:, -rank:]
    T2 = (along**2 / values[-rank:]).sum()
    return f.sf(T2 * (blocks - rank) / (rank * (blocks - 1)), rank, blocks - rank)
