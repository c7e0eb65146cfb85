"""What to solve for a dataset: one plan a file, and what plans draw from."""
