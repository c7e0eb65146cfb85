"""Quantum impurities and their DMFT loop, in numpy and without torch."""
