"""Quantum impurities and their DMFT loop in numpy; knows no torch."""
