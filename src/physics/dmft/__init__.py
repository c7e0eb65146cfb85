"""The self-consistency loop: mixing, filling search, starts, solution files."""
