"""Opened bodies become rows, by what is known of their clocks, and again when more is known."""
