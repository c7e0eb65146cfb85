"""Fermions in a small box: operator strings, determinants, the Kanamori Hamiltonian."""
