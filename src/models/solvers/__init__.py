"""Trained models behind the protocol of impurity solvers, and where they apply."""
