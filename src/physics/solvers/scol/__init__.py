"""Operator Lanczos: excited states as operator strings on a ground state."""
