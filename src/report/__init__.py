"""Figures, tables and pages; imports physics alone."""
