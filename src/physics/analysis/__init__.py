"""What is read off a solution: self-energy, quasiparticle, phase, observables, resolution."""
