"""Grids in frequency and time, and the exact kernels between them."""
