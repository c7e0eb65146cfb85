"""One architecture a file, the heads, ensembles, and the layers and guesses they share."""
