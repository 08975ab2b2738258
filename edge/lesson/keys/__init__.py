"""Whom a lesson is sealed to."""
