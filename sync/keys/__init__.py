"""Data keys, who may have them, and what a person decided."""
