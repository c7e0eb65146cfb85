"""Cheap solvers, expansions in the interaction or in the bath: ipt, hubbard1, nca."""
