"""Learned corrections to cheap solvers at finite temperature, on the imaginary axis."""
