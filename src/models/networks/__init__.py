"""Architectures, one file each; their heads, and the layers and guesses they share."""
