"""The self-consistency condition of each lattice."""
