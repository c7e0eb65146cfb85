"""Figures, tables and pages of what it is given; imports physics alone."""
