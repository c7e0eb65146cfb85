"""dmftnet: real-frequency impurity solvers for dynamical mean-field theory, exact and learned."""

__version__ = "0.1.0"
