"""Continuous-time quantum Monte Carlo in the segment picture."""
