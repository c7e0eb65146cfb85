"""Everything learned: networks, their training, learned solvers, what is shipped."""
