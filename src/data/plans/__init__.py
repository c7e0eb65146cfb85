"""What to solve for a dataset: one plan per file, and the distributions that plans draw from."""
