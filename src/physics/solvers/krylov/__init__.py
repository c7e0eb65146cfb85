"""Exact and restricted diagonalisation by Lanczos: ed and ras."""
