"""Cheap solvers that expand in the interaction: ipt."""
