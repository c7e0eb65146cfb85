"""From solved problems to training batches: generation, the HDF5 store, labels."""
