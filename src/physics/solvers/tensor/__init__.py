"""The tensor-network solver: mps and the layers it is built of."""
