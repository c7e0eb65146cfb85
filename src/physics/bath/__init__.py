"""From a continuous hybridization to bath sites: discretisation, chains, natural orbitals."""
