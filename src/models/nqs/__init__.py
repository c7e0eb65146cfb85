"""Neural quantum states: autoregressive amplitudes, their sampler and their optimiser."""
