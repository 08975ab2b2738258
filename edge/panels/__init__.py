"""Blackboards together: told at once, locked again in time, switched by the clock."""
