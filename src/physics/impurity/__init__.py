"""What a solver is given and what it gives back: problem, solutions, the protocol."""
