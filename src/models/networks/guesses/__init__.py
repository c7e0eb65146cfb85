"""Cheap spectra that networks correct: one file a kind, found by the names it gives."""
