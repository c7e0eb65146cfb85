"""Impurity solvers that need no training, and the checks of their arguments."""
