"""One architecture a file, the heads, and the layers and guesses they share."""
